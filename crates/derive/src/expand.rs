//! The code that `#[derive(Tunable)]` writes.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DataEnum, DeriveInput, Error, Expr, Fields, FieldsNamed, Ident, Lit, Type, UnOp};

use crate::attribute::{self, Name, Repeat, Statement};

/// The whole implementation, or the first mistake in the declaration.
pub(crate) fn tunable(input: &DeriveInput) -> syn::Result<TokenStream> {
    let path = attribute::crate_path(&input.attrs)?;
    let at = path_to(&path);
    let body = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => of_struct(fields, &at)?,
            Fields::Unnamed(_) | Fields::Unit => {
                return Err(Error::new(
                    input.ident.span(),
                    "parameters need names: give the struct named fields",
                ));
            }
        },
        Data::Enum(data) => of_enum(&input.ident, data, &at)?,
        Data::Union(_) => return Err(Error::new(input.ident.span(), "a union cannot be a search space")),
    };
    let (name, (generics, arguments, bounds)) = (&input.ident, input.generics.split_for_impl());
    let Body { declare, read, is_present } = body;
    Ok(quote! {
        #[automatically_derived]
        impl #generics #at::Tunable for #name #arguments #bounds {
            fn declare(builder: #at::SpaceBuilder, scope: &#at::TuneScope) -> #at::SpaceBuilder {
                #declare
            }
            fn read(
                params: &#at::Params,
                scope: &#at::TuneScope,
            ) -> ::core::result::Result<Self, #at::SpaceError> {
                #read
            }
            fn is_present(params: &#at::Params, scope: &#at::TuneScope) -> bool {
                #is_present
            }
        }
    })
}

fn path_to(path: &syn::Path) -> TokenStream {
    quote!(#path::space)
}

/// The bodies of the three functions; `builder`, `scope` and `params` are their arguments.
struct Body {
    declare: TokenStream,
    read: TokenStream,
    is_present: TokenStream,
}

fn of_struct(fields: &FieldsNamed, at: &TokenStream) -> syn::Result<Body> {
    let fields = read_fields(fields)?;
    let declare = fields.iter().map(|field| field.declare(at));
    let read = fields.iter().map(|field| {
        let (ident, value) = (&field.ident, field.read(at));
        quote!(#ident: #value?)
    });
    let is_present = fields.iter().map(|field| field.is_present(at));
    Ok(Body {
        declare: quote! { #(#declare)* builder },
        read: quote! { ::core::result::Result::Ok(Self { #(#read),* }) },
        is_present: quote! { false #(|| #is_present)* },
    })
}

fn of_enum(name: &Ident, data: &DataEnum, at: &TokenStream) -> syn::Result<Body> {
    let own = snake_case(&name.to_string());
    let variants = data.variants.iter().map(Variant::of).collect::<syn::Result<Vec<_>>>()?;
    if variants.is_empty() {
        return Err(Error::new(name.span(), "an enum without variants has no choice to make"));
    }
    let choices: Vec<&String> = variants.iter().map(|variant| &variant.name).collect();
    let declare = variants.iter().map(|variant| variant.declare(&own, at));
    let read = variants.iter().map(|variant| variant.build(at));
    Ok(Body {
        declare: quote! {
            let builder = scope.declare(builder, scope.own_name(#own), #at::file::ParameterForm {
                kind: ::core::option::Option::Some(#at::file::ParameterType::Categorical),
                choices: ::core::option::Option::Some(::std::vec![#(#at::Value::from(#choices)),*]),
                default: scope.own_default(),
                ..::core::default::Default::default()
            });
            #(#declare)*
            builder
        },
        read: quote! {
            let name = scope.own_name(#own);
            let choice: ::std::string::String = scope.value(params, name)?;
            match choice.as_str() {
                #(#read)*
                other => ::core::result::Result::Err(scope.unknown_choice(name, other, &[#(#choices),*])),
            }
        },
        is_present: quote! { scope.has(params, scope.own_name(#own)) },
    })
}

/// One variant of an enum.
struct Variant {
    ident: Ident,
    name: String,
    content: Content,
}

enum Content {
    Nothing,
    Fields(Vec<Field>),
    /// A tunable type in a variant with one unnamed field.
    Inner(Box<Type>),
}

impl Variant {
    fn of(variant: &syn::Variant) -> syn::Result<Self> {
        let said = attribute::Field::read(&variant.attrs)?;
        let content = match &variant.fields {
            Fields::Unit => Content::Nothing,
            Fields::Named(fields) => Content::Fields(read_fields(fields)?),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                Content::Inner(Box::new(fields.unnamed[0].ty.clone()))
            }
            Fields::Unnamed(fields) => {
                return Err(Error::new(
                    fields.span(),
                    "parameters need names: give the variant named fields",
                ));
            }
        };
        let name =
            said.name.map_or_else(|| snake_case(&variant.ident.to_string()), |name| name.value.value());
        Ok(Self { ident: variant.ident.clone(), name, content })
    }

    /// Declares what the variant holds, active only in this variant.
    fn declare(&self, own: &str, at: &TokenStream) -> TokenStream {
        let inner = match &self.content {
            Content::Nothing => return TokenStream::new(),
            Content::Fields(fields) => {
                let fields = fields.iter().map(|field| field.declare(at));
                quote! { #(#fields)* builder }
            }
            Content::Inner(inner) => quote! { <#inner as #at::Tunable>::declare(builder, scope) },
        };
        let name = &self.name;
        quote! {
            let builder = {
                let condition = #at::Condition::eq(&scope.sibling(scope.own_name(#own)), #name);
                let scope = &scope.only_when(::core::option::Option::Some(condition));
                #inner
            };
        }
    }

    /// The arm of the match that makes this variant.
    fn build(&self, at: &TokenStream) -> TokenStream {
        let (name, ident) = (&self.name, &self.ident);
        let made = match &self.content {
            Content::Nothing => quote!(Self::#ident),
            Content::Fields(fields) => {
                let fields = fields.iter().map(|field| {
                    let (ident, value) = (&field.ident, field.read(at));
                    quote!(#ident: #value?)
                });
                quote!(Self::#ident { #(#fields),* })
            }
            Content::Inner(inner) => quote!(Self::#ident(<#inner as #at::Tunable>::read(params, scope)?)),
        };
        quote! { #name => ::core::result::Result::Ok(#made), }
    }
}

/// One named field, judged.
struct Field {
    ident: Ident,
    name: String,
    /// The type inside `Vec` and `Option`.
    inner: Type,
    is_list: bool,
    is_optional: bool,
    kind: Kind,
    said: attribute::Field,
    /// Names of the fields beside this one, by their identifiers.
    beside: Vec<(Ident, String)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Bool,
    Choices,
    Levels,
    Fixed,
    /// A type that brings its own parameters.
    Nested,
}

fn read_fields(fields: &FieldsNamed) -> syn::Result<Vec<Field>> {
    let mut read = fields.named.iter().map(Field::of).collect::<syn::Result<Vec<_>>>()?;
    let names: Vec<(Ident, String)> = read.iter().map(|f| (f.ident.clone(), f.name.clone())).collect();
    for field in &mut read {
        field.beside.clone_from(&names);
        if let Some(when) = &field.said.when {
            when.value.iter().try_for_each(|statement| check_names(statement, &names))?;
        }
    }
    Ok(read)
}

/// Every bare name in a condition is a field beside this one.
fn check_names(statement: &Statement, names: &[(Ident, String)]) -> syn::Result<()> {
    match statement {
        Statement::All(parts) | Statement::Any(parts) | Statement::Not(parts) => {
            parts.iter().try_for_each(|part| check_names(part, names))
        }
        Statement::Compare { param: Name::Field(ident), .. }
        | Statement::OneOf { param: Name::Field(ident), .. }
            if !names.iter().any(|(known, _)| known == ident) =>
        {
            let known: Vec<String> = names.iter().map(|(known, _)| format!("`{known}`")).collect();
            let problem = format!(
                "there is no field `{ident}` here, only {}; write the name of a parameter declared elsewhere in quotes",
                known.join(", ")
            );
            Err(Error::new(ident.span(), problem))
        }
        Statement::Compare { .. } | Statement::OneOf { .. } => Ok(()),
    }
}

impl Field {
    fn of(field: &syn::Field) -> syn::Result<Self> {
        let ident =
            field.ident.clone().ok_or_else(|| Error::new(field.span(), "a parameter needs a name"))?;
        let said = attribute::Field::read(&field.attrs)?;
        let (is_list, inner) = unwrap_list(&field.ty, &said, &ident)?;
        let (is_optional, inner) = unwrap_option(inner, &said, &ident)?;
        let kind = kind_of(inner, &said, &ident)?;
        check_range(&said)?;
        let plain = ident.to_string();
        let plain = plain.strip_prefix("r#").unwrap_or(&plain).to_owned();
        let name = said.name.as_ref().map_or(plain, |name| name.value.value());
        Ok(Self { inner: inner.clone(), ident, name, is_list, is_optional, kind, said, beside: Vec::new() })
    }

    /// `let builder = …;` with this field's parameters added.
    fn declare(&self, at: &TokenStream) -> TokenStream {
        let name = &self.name;
        let when = self.when(at);
        let declared = if self.kind == Kind::Nested {
            let (inner, default) =
                (&self.inner, optional(self.said.default.as_ref().map(|d| value(&d.value, at))));
            quote_spanned! { inner.span() =>
                <#inner as #at::Tunable>::declare(builder, &scope.only_when(#when).field(#name, #default))
            }
        } else {
            let form = self.form(&when, at);
            quote! { scope.declare(builder, #name, #form) }
        };
        match self.repeat(at) {
            None => quote! { let builder = #declared; },
            // The condition is made in the outer scope, so it is bound before the scope is.
            Some(repeat) => quote! {
                let builder = {
                    let outer = scope;
                    let (builder, scope) = outer.repeated(builder, #name, #repeat);
                    let scope = &scope;
                    #declared
                };
            },
        }
    }

    /// The condition, named from the scope of the declaration itself, whatever is repeated inside it.
    fn when(&self, at: &TokenStream) -> TokenStream {
        let Some(when) = &self.said.when else { return quote!(::core::option::Option::None) };
        let scope = if self.is_list { format_ident!("outer") } else { format_ident!("scope") };
        let condition = all(&when.value, &scope, &self.beside, at);
        quote!(::core::option::Option::Some(#condition))
    }

    fn repeat(&self, at: &TokenStream) -> Option<TokenStream> {
        let said = self.said.repeat.as_ref()?;
        Some(match &said.value {
            Repeat::Param(name) => quote!(#at::file::Repeat::Param(::std::string::String::from(#name))),
            Repeat::Times(times) => quote!(#at::file::Repeat::Times(#times)),
        })
    }

    fn form(&self, when: &TokenStream, at: &TokenStream) -> TokenStream {
        let (said, inner) = (&self.said, &self.inner);
        let kind = match self.kind {
            Kind::Number => quote_spanned!(inner.span() => <#inner as #at::TuneValue>::NUMBER),
            Kind::Bool => some_kind("Bool", at),
            Kind::Choices => some_kind("Categorical", at),
            Kind::Levels => some_kind("Ordinal", at),
            Kind::Fixed => some_kind("Fixed", at),
            Kind::Nested => quote!(::core::option::Option::None),
        };
        let one = |said: &Option<attribute::Said<Expr>>| optional(said.as_ref().map(|s| value(&s.value, at)));
        let many = |said: &Option<attribute::Said<Vec<Expr>>>| {
            optional(said.as_ref().map(|s| {
                let values = s.value.iter().map(|expr| value(expr, at));
                quote!(::std::vec![#(#values),*])
            }))
        };
        let (low, high, step) = (one(&said.low), one(&said.high), one(&said.step));
        let (fixed, default) = (one(&said.value), one(&said.default));
        let (choices, levels) = (many(&said.choices), many(&said.levels));
        let (scale, prior) = (self.scale(at), self.prior(at));
        quote! {
            #at::file::ParameterForm {
                kind: #kind, low: #low, high: #high, step: #step, scale: #scale, value: #fixed, default: #default,
                choices: #choices, levels: #levels, prior: #prior, when: #when,
                ..::core::default::Default::default()
            }
        }
    }

    fn scale(&self, at: &TokenStream) -> TokenStream {
        let scale = match (&self.said.scale, &self.said.log) {
            (Some(scale), _) => scale.value.value(),
            (None, Some(_)) => "log".to_owned(),
            (None, None) => return quote!(::core::option::Option::None),
        };
        let variant = match scale.as_str() {
            "log" => quote!(Log),
            "log1m" => quote!(Log1m),
            _ => quote!(Linear),
        };
        quote!(::core::option::Option::Some(#at::Scale::#variant))
    }

    fn prior(&self, at: &TokenStream) -> TokenStream {
        let number = |expr: &Expr| match literal(expr) {
            Some(Number::Whole(i)) => quote!(#i as f64),
            Some(Number::Real(_)) | None => quote!(#expr),
        };
        let form = if let Some(bell) = &self.said.prior {
            let center = value(&bell.value.center, at);
            let spread = optional(bell.value.spread.as_ref().map(number));
            quote!(center: ::core::option::Option::Some(#center), spread: #spread,)
        } else if let Some(weights) = &self.said.weights {
            let weights = weights.value.iter().map(number);
            let list = quote!(#at::file::WeightsForm::List(::std::vec![#(#weights),*]));
            quote!(weights: ::core::option::Option::Some(#list),)
        } else {
            return quote!(::core::option::Option::None);
        };
        quote! {
            ::core::option::Option::Some(#at::file::PriorForm { #form ..::core::default::Default::default() })
        }
    }

    /// An expression of type `Result<field's type, SpaceError>`.
    fn read(&self, at: &TokenStream) -> TokenStream {
        let one = self.read_one(at);
        match self.repeat(at) {
            Some(repeat) => quote!(scope.list(params, &#repeat, |scope| #one)),
            None => one,
        }
    }

    fn read_one(&self, at: &TokenStream) -> TokenStream {
        let (name, inner) = (&self.name, &self.inner);
        if self.kind != Kind::Nested {
            return if self.is_optional {
                quote_spanned!(inner.span() => scope.optional::<#inner>(params, #name))
            } else {
                quote_spanned!(inner.span() => scope.value::<#inner>(params, #name))
            };
        }
        let nested = quote!(&scope.field(#name, ::core::option::Option::None));
        let read = quote_spanned!(inner.span() => <#inner as #at::Tunable>::read(params, #nested));
        if !self.is_optional {
            return read;
        }
        quote! {
            if <#inner as #at::Tunable>::is_present(params, #nested) {
                #read.map(::core::option::Option::Some)
            } else {
                ::core::result::Result::Ok(::core::option::Option::None)
            }
        }
    }

    /// Whether the params hold something of this field.
    fn is_present(&self, at: &TokenStream) -> TokenStream {
        let (name, inner) = (&self.name, &self.inner);
        match (&self.said.repeat, self.kind) {
            // Structs in a list stand beside their counter, which tells.
            (Some(_), Kind::Nested) => quote!(false),
            (Some(_), _) => {
                let first = format!("{name}[1]");
                quote!(scope.has(params, #first))
            }
            (None, Kind::Nested) => quote! {
                <#inner as #at::Tunable>::is_present(params, &scope.field(#name, ::core::option::Option::None))
            },
            (None, _) => quote!(scope.has(params, #name)),
        }
    }
}

fn some_kind(variant: &str, at: &TokenStream) -> TokenStream {
    let variant = Ident::new(variant, Span::call_site());
    quote!(::core::option::Option::Some(#at::file::ParameterType::#variant))
}

/// The inside of `Vec<…>`, which goes with `repeat`.
fn unwrap_list<'a>(ty: &'a Type, said: &attribute::Field, ident: &Ident) -> syn::Result<(bool, &'a Type)> {
    match (argument_of(ty, "Vec"), &said.repeat) {
        (Some(inner), Some(_)) => Ok((true, inner)),
        (None, None) => Ok((false, ty)),
        (Some(_), None) => {
            let problem = format!(
                "`{ident}` is a list; say how often it is repeated: repeat = \"layers\" or repeat = 3"
            );
            Err(Error::new(ty.span(), problem))
        }
        (None, Some(repeat)) => {
            Err(Error::new(repeat.at, format!("`{ident}` is repeated, so its type must be a Vec")))
        }
    }
}

/// The inside of `Option<…>`, which goes with `when`.
fn unwrap_option<'a>(ty: &'a Type, said: &attribute::Field, ident: &Ident) -> syn::Result<(bool, &'a Type)> {
    match (argument_of(ty, "Option"), &said.when) {
        (Some(inner), Some(_)) => Ok((true, inner)),
        (None, None) => Ok((false, ty)),
        (Some(_), None) => {
            let problem = format!("`{ident}` is an Option; say when it is active: when(optimizer = \"sgd\")");
            Err(Error::new(ty.span(), problem))
        }
        (None, Some(when)) => Err(Error::new(
            when.at,
            format!(
                "`{ident}` is active only sometimes, so its type must be an Option (inside the Vec, if it is one)"
            ),
        )),
    }
}

/// `T` of `wrapper<T>`.
fn argument_of<'a>(ty: &'a Type, wrapper: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == wrapper)?;
    match &last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => {
            arguments.args.iter().find_map(|argument| match argument {
                syn::GenericArgument::Type(inner) => Some(inner),
                _ => None,
            })
        }
        syn::PathArguments::None | syn::PathArguments::Parenthesized(_) => None,
    }
}

fn kind_of(ty: &Type, said: &attribute::Field, ident: &Ident) -> syn::Result<Kind> {
    let ranged = said.low.as_ref().or(said.high.as_ref()).map(|s| s.at);
    let given: Vec<(Kind, Span)> = [
        (Kind::Number, ranged),
        (Kind::Choices, said.choices.as_ref().map(|s| s.at)),
        (Kind::Levels, said.levels.as_ref().map(|s| s.at)),
        (Kind::Fixed, said.value.as_ref().map(|s| s.at)),
    ]
    .into_iter()
    .filter_map(|(kind, at)| Some((kind, at?)))
    .collect();
    match given[..] {
        [_, (_, at), ..] => {
            Err(Error::new(at, format!("`{ident}` takes one of: low and high; choices; levels; value")))
        }
        [(Kind::Number, at)] if said.low.is_none() || said.high.is_none() => {
            Err(Error::new(at, format!("`{ident}` needs both low and high")))
        }
        [(kind, _)] => Ok(kind),
        [] => kind_of_type(ty, said, ident),
    }
}

/// The kind of a field that says neither range nor list.
fn kind_of_type(ty: &Type, said: &attribute::Field, ident: &Ident) -> syn::Result<Kind> {
    let name = match ty {
        Type::Path(path) => path.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default(),
        _ => String::new(),
    };
    match name.as_str() {
        "bool" => Ok(Kind::Bool),
        "f32" | "f64" | "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32" | "u64" | "usize" => {
            Err(Error::new(ty.span(), format!("`{ident}` is a number; give it #[tune(low = …, high = …)]")))
        }
        "String" | "str" | "Arc" | "Value" => Err(Error::new(
            ty.span(),
            format!("`{ident}` needs its choices; give it #[tune(choices = [\"a\", \"b\"])]"),
        )),
        _ => check_nested(said, ident).map(|()| Kind::Nested),
    }
}

/// A nested type brings its own ranges; only where it stands is said here.
fn check_nested(said: &attribute::Field, ident: &Ident) -> syn::Result<()> {
    let misplaced = [
        said.scale.as_ref().map(|s| s.at),
        said.log.as_ref().map(|s| s.at),
        said.step.as_ref().map(|s| s.at),
        said.prior.as_ref().map(|s| s.at),
        said.weights.as_ref().map(|s| s.at),
    ];
    match misplaced.into_iter().flatten().next() {
        Some(at) => Err(Error::new(at, format!("`{ident}` brings its own parameters; say this of those"))),
        None => Ok(()),
    }
}

/// Mistakes in literal ranges, shown where they stand instead of when the program runs.
fn check_range(said: &attribute::Field) -> syn::Result<()> {
    if let Some(scale) = &said.scale {
        if !["linear", "log", "log1m"].contains(&scale.value.value().as_str()) {
            return Err(Error::new(scale.value.span(), "a scale is \"linear\", \"log\" or \"log1m\""));
        }
        if let Some(log) = &said.log {
            return Err(Error::new(log.at, "scale and log say the same thing; keep scale"));
        }
    }
    let (Some(low), Some(high)) = (&said.low, &said.high) else { return Ok(()) };
    let (Some(from), Some(to)) = (literal(&low.value), literal(&high.value)) else { return Ok(()) };
    if from.as_f64() > to.as_f64() {
        return Err(Error::new(low.value.span(), "low is above high; swap them"));
    }
    let scale = said.scale.as_ref().map(|scale| scale.value.value());
    if from.as_f64() <= 0.0 && (said.log.is_some() || scale.as_deref() == Some("log")) {
        return Err(Error::new(
            low.value.span(),
            "a log scale needs low > 0; raise low or use scale = \"linear\"",
        ));
    }
    if to.as_f64() >= 1.0 && scale.as_deref() == Some("log1m") {
        return Err(Error::new(high.value.span(), "the log scale of 1 - x needs high < 1; lower high"));
    }
    Ok(())
}

fn all(statements: &[Statement], scope: &Ident, beside: &[(Ident, String)], at: &TokenStream) -> TokenStream {
    if let [one] = statements {
        return condition(one, scope, beside, at);
    }
    let parts = statements.iter().map(|part| condition(part, scope, beside, at));
    quote!(#at::Condition::All(::std::vec![#(#parts),*]))
}

fn condition(
    statement: &Statement,
    scope: &Ident,
    beside: &[(Ident, String)],
    at: &TokenStream,
) -> TokenStream {
    match statement {
        Statement::Compare { param, sign, value: right } => {
            let (param, sign) = (named(param, scope, beside), Ident::new(sign, Span::call_site()));
            let right = value(right, at);
            quote!(#at::Condition::compare(&#param, #at::Comparison::#sign, #right))
        }
        Statement::OneOf { param, values } => {
            let (param, values) = (named(param, scope, beside), values.iter().map(|v| value(v, at)));
            quote!(#at::Condition::is_in::<#at::Value>(&#param, [#(#values),*]))
        }
        Statement::All(parts) => all(parts, scope, beside, at),
        Statement::Any(parts) => {
            let parts = parts.iter().map(|part| condition(part, scope, beside, at));
            quote!(#at::Condition::Any(::std::vec![#(#parts),*]))
        }
        Statement::Not(parts) => {
            let part = all(parts, scope, beside, at);
            quote!(#at::Condition::Not(::std::boxed::Box::new(#part)))
        }
    }
}

/// How a condition calls a parameter. A field beside this one follows the scope it is in; a text stands as it is.
fn named(name: &Name, scope: &Ident, beside: &[(Ident, String)]) -> TokenStream {
    match name {
        Name::Text(text) => quote!(::std::string::String::from(#text)),
        Name::Field(ident) => {
            let name =
                beside.iter().find(|(known, _)| known == ident).map_or_else(String::new, |(_, n)| n.clone());
            quote!(#scope.sibling(#name))
        }
    }
}

fn optional(value: Option<TokenStream>) -> TokenStream {
    let none = || quote!(::core::option::Option::None);
    value.map_or_else(none, |value| quote!(::core::option::Option::Some(#value)))
}

/// An expression as a `Value`. Integer literals are given a type, so that large ones fit.
fn value(expr: &Expr, at: &TokenStream) -> TokenStream {
    match literal(expr) {
        Some(Number::Whole(i)) => quote_spanned!(expr.span() => #at::Value::Int(#i)),
        Some(Number::Real(_)) | None => quote_spanned!(expr.span() => #at::Value::from(#expr)),
    }
}

/// A number written out.
enum Number {
    Whole(i64),
    Real(f64),
}

impl Number {
    #[allow(clippy::cast_precision_loss)] // Only compared with other ends of ranges.
    fn as_f64(&self) -> f64 {
        match self {
            Self::Whole(i) => *i as f64,
            Self::Real(x) => *x,
        }
    }
}

/// The number that an expression writes out, with or without a minus; literals with a type suffix are left alone.
fn literal(expr: &Expr) -> Option<Number> {
    match expr {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Int(int) if int.suffix().is_empty() => int.base10_parse().ok().map(Number::Whole),
            Lit::Float(float) if float.suffix().is_empty() => float.base10_parse().ok().map(Number::Real),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => match literal(&unary.expr)? {
            Number::Whole(i) => Some(Number::Whole(-i)),
            Number::Real(x) => Some(Number::Real(-x)),
        },
        _ => None,
    }
}

/// `AdamW` is `adam_w`, `SGD` is `sgd`.
fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (k, letter) in letters.iter().enumerate() {
        let before = k.checked_sub(1).map(|k| letters[k]);
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|b| {
                !b.is_uppercase() && b != '_' || letters.get(k + 1).is_some_and(|next| next.is_lowercase())
            });
        if starts_word && before != Some('_') {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a declaration is refused with a message.
    #[track_caller]
    fn refuse(source: &str, expected: &str) {
        let input: DeriveInput = syn::parse_str(source).expect("an item");
        let error = tunable(&input).expect_err("a bad declaration");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn mistakes_are_named() {
        let field =
            |text: &str, expected: &str| refuse(&format!("struct S {{ other: bool, {text} }}"), expected);
        field("x: f64", "`x` is a number; give it #[tune(low = …, high = …)]");
        field("x: String", "`x` needs its choices; give it #[tune(choices = [\"a\", \"b\"])]");
        field("#[tune(low = 1)] x: u8", "`x` needs both low and high");
        field("#[tune(low = 3.0, high = 1.0)] x: f64", "low is above high; swap them");
        field("#[tune(low = 3, high = -1)] x: i8", "low is above high; swap them");
        field(
            "#[tune(low = 0, high = 1, log)] x: f64",
            "a log scale needs low > 0; raise low or use scale = \"linear\"",
        );
        field(
            "#[tune(low = 0, high = 1, scale = \"log1m\")] x: f64",
            "the log scale of 1 - x needs high < 1; lower high",
        );
        field(
            "#[tune(low = 1, high = 2, scale = \"logg\")] x: f64",
            "a scale is \"linear\", \"log\" or \"log1m\"",
        );
        field(
            "#[tune(low = 1, high = 2, scale = \"log\", log)] x: f64",
            "scale and log say the same thing; keep scale",
        );
        field("#[tune(low = 1, low = 2)] x: f64", "`low` is given twice");
        field(
            "#[tune(lwo = 1)] x: f64",
            "there is no key `lwo`; the keys are low, high, scale, log, step, choices, levels, value, default, prior, \
             weights, when, repeat, name",
        );
        field(
            "#[tune(low = 1, high = 2, choices = [1])] x: u8",
            "`x` takes one of: low and high; choices; levels; value",
        );
        field(
            "x: Vec<bool>",
            "`x` is a list; say how often it is repeated: repeat = \"layers\" or repeat = 3",
        );
        field("#[tune(repeat = 3)] x: bool", "`x` is repeated, so its type must be a Vec");
        field("#[tune(repeat = other)] x: Vec<bool>", "repeat takes a field's name in quotes, or a number");
        field("x: Option<bool>", "`x` is an Option; say when it is active: when(optimizer = \"sgd\")");
        field(
            "#[tune(when(other = true))] x: bool",
            "`x` is active only sometimes, so its type must be an Option (inside the Vec, if it is one)",
        );
        field(
            "#[tune(when(another = true))] x: Option<bool>",
            "there is no field `another` here, only `other`, `x`; write the name of a parameter declared elsewhere in quotes",
        );
        field("#[tune(when(other ~ 1))] x: Option<bool>", "expected one of =, !=, <, <=, >, >=");
        field("#[tune(when(none(other = 1)))] x: Option<bool>", "`none(…)` is none of all, any and not");
        field("#[tune(log)] x: Inner", "`x` brings its own parameters; say this of those");
        field(
            "#[tune(low = 1, high = 2, prior(spread = 1))] x: u8",
            "a prior needs a center: prior(center = …)",
        );
        refuse("struct S(f64);", "parameters need names: give the struct named fields");
        refuse("enum E { A(f64, f64) }", "parameters need names: give the variant named fields");
        refuse("enum E {}", "an enum without variants has no choice to make");
        refuse("union U { a: u8 }", "a union cannot be a search space");
        refuse(
            "#[tune(krate = \"x\")] struct S { a: bool }",
            "there is no key `krate` here; the only one is `crate`",
        );
    }

    #[test]
    fn names_become_snake_case() {
        for (name, expected) in [
            ("Adam", "adam"),
            ("AdamW", "adam_w"),
            ("SGD", "sgd"),
            ("HTTPServer", "http_server"),
            ("Relu6", "relu6"),
            ("A_B", "a_b"),
        ] {
            assert_eq!(snake_case(name), expected);
        }
    }

    #[test]
    fn the_path_to_the_core_may_be_given() {
        let input: DeriveInput =
            syn::parse_str("#[tune(crate = \"luthier::core\")] struct S { a: bool }").expect("an item");
        let written = tunable(&input).expect("a good declaration").to_string();
        assert!(written.contains("luthier :: core :: space") && !written.contains("luthier_core"));
    }
}
