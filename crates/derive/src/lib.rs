//! `#[derive(Tunable)]`: a typed struct as a search space, filled in for each trial.
//!
//! The macro only writes code; what a declaration means is decided by `luthier_core::space`, which it calls.

mod attribute;
mod expand;

use proc_macro::TokenStream;

/// Implements `luthier_core::space::Tunable` for a struct with named fields, or for an enum.
///
/// A field becomes a parameter of the same name. What kind of parameter follows from its type and attribute:
///
/// | field | attribute | parameter |
/// |---|---|---|
/// | `f64`, `f32` | `low`, `high` | float |
/// | any integer | `low`, `high` | int |
/// | `bool` | none needed | bool |
/// | `String`, `Arc<str>`, numbers, `Value` | `choices = […]` | categorical |
/// | the same | `levels = […]` | ordinal |
/// | the same | `value = …` | fixed |
/// | a `Tunable` struct | none needed | its fields, as if they stood here |
/// | a `Tunable` enum | none needed | a categorical of its variants; a variant's fields are active only in it |
///
/// Further keys: `scale = "linear" | "log" | "log1m"` (`log` for short), `step`, `default`,
/// `prior(center = …, spread = …)`, `weights = […]`, `name = "…"`, and
///
/// * `when(optimizer = "sgd", layers >= 2)`: active only while all of it holds; the field is an `Option`. The signs
///   are `=`, `!=`, `<`, `<=`, `>`, `>=`; `= [a, b]` means one of; `any(…)`, `all(…)` and `not(…)` nest. A name is a field
///   beside this one; anything else is written as a text, `"units[1]" > 8`.
/// * `repeat = "layers"` or `repeat = 3`: repeated; the field is a `Vec`.
///
/// On the struct or enum itself, `#[tune(crate = "luthier::core")]` says where `luthier_core` is found. A variant is called
/// by its name in `snake_case`, unless `#[tune(name = "…")]` says otherwise.
///
/// ```
/// use luthier_core::space::{Params, Tunable};
/// use luthier_derive::Tunable;
///
/// #[derive(Tunable)]
/// struct Settings {
///     #[tune(low = 1e-5, high = 1e-1, scale = "log", default = 1e-3)]
///     lr: f64,
///     #[tune(low = 1, high = 4)]
///     layers: u32,
///     #[tune(low = 8, high = 256, scale = "log", repeat = "layers")]
///     units: Vec<usize>,
///     optimizer: Optimizer,
/// }
///
/// #[derive(Tunable)]
/// enum Optimizer {
///     Adam,
///     Sgd {
///         #[tune(low = 0.5, high = 0.999, scale = "log1m")]
///         momentum: f64,
///     },
/// }
///
/// let space = Settings::space()?;
/// let params = space.decode(&space.default_point());
/// let settings = Settings::from_params(&params)?;
/// assert_eq!(settings.lr, 1e-3);
/// assert_eq!(settings.units.len(), settings.layers as usize);
/// # Ok::<(), luthier_core::space::SpaceError>(())
/// ```
#[proc_macro_derive(Tunable, attributes(tune))]
pub fn derive_tunable(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::tunable(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
