//! A macro for closed sets of named choices (activations, initialisers, …): one table gives the enum, its names in
//! settings files and saved models, and the list that an error message shows.

/// Defines an enum whose variants have names. Names are read without regard to case, `_` and `-`, so that
/// `glorot_normal` and `glorotNormal` are the same; they are written as given here. Names after a `|` are read too.
macro_rules! named_choices {
    ($(#[$attribute:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal $(| $alias:literal)*,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All choices, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name as settings and saved models write it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            fn names(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$text $(, $alias)*],)+ }
            }

            /// The choice with this name, read without regard to case, `_` and `-`.
            pub fn named(name: &str) -> Option<Self> {
                let wanted = crate::naming::folded(name);
                Self::ALL.iter().copied().find(|choice| {
                    choice.names().iter().any(|name| crate::naming::folded(name) == wanted)
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl From<$name> for String {
            fn from(choice: $name) -> Self {
                choice.name().to_owned()
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(name: String) -> Result<Self, Self::Error> {
                Self::named(&name).ok_or_else(|| crate::naming::unknown(&name, &Self::ALL.iter().map(|c| c.name()).collect::<Vec<_>>()))
            }
        }
    };
}
pub(crate) use named_choices;

pub(crate) fn folded(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

pub(crate) fn unknown(name: &str, known: &[&str]) -> String {
    format!("`{name}` is not known here; choose one of {}", known.join(", "))
}
