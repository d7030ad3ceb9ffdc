//! What `#[tune(…)]` says, parsed but not judged.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, Ident, LitInt, LitStr, Token, bracketed, parenthesized};

/// The keys of a field.
const KEYS: &str =
    "low, high, scale, log, step, choices, levels, value, default, prior, weights, when, repeat, name";

/// One key and its value, with the place to point to.
pub(crate) struct Said<T> {
    pub(crate) at: Span,
    pub(crate) value: T,
}

/// All that is said of one field.
#[derive(Default)]
pub(crate) struct Field {
    pub(crate) low: Option<Said<Expr>>,
    pub(crate) high: Option<Said<Expr>>,
    pub(crate) scale: Option<Said<LitStr>>,
    pub(crate) log: Option<Said<()>>,
    pub(crate) step: Option<Said<Expr>>,
    pub(crate) choices: Option<Said<Vec<Expr>>>,
    pub(crate) levels: Option<Said<Vec<Expr>>>,
    pub(crate) value: Option<Said<Expr>>,
    pub(crate) default: Option<Said<Expr>>,
    pub(crate) prior: Option<Said<Bell>>,
    pub(crate) weights: Option<Said<Vec<Expr>>>,
    pub(crate) when: Option<Said<Vec<Statement>>>,
    pub(crate) repeat: Option<Said<Repeat>>,
    pub(crate) name: Option<Said<LitStr>>,
}

/// `prior(center = …, spread = …)`.
pub(crate) struct Bell {
    pub(crate) center: Expr,
    pub(crate) spread: Option<Expr>,
}

pub(crate) enum Repeat {
    Param(LitStr),
    Times(LitInt),
}

/// A part of `when(…)`.
pub(crate) enum Statement {
    Compare { param: Name, sign: &'static str, value: Expr },
    OneOf { param: Name, values: Vec<Expr> },
    All(Vec<Statement>),
    Any(Vec<Statement>),
    Not(Vec<Statement>),
}

/// A parameter's name: a field beside this one, or any text.
pub(crate) enum Name {
    Field(Ident),
    Text(LitStr),
}

impl Field {
    /// Reads the `tune` attributes of a field, in however many pieces.
    pub(crate) fn read(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut field = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("tune")) {
            attribute
                .parse_args_with(|input: ParseStream<'_>| comma_separated(input, |input| field.key(input)))?;
        }
        Ok(field)
    }

    fn key(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let key = input.call(Ident::parse_any)?;
        let at = key.span();
        match key.to_string().as_str() {
            "low" => once(&mut self.low, &key, assigned(input)?),
            "high" => once(&mut self.high, &key, assigned(input)?),
            "scale" => once(&mut self.scale, &key, assigned(input)?),
            "log" => once(&mut self.log, &key, ()),
            "step" => once(&mut self.step, &key, assigned(input)?),
            "choices" => once(&mut self.choices, &key, assigned_list(input)?),
            "levels" => once(&mut self.levels, &key, assigned_list(input)?),
            "value" => once(&mut self.value, &key, assigned(input)?),
            "default" => once(&mut self.default, &key, assigned(input)?),
            "prior" => once(&mut self.prior, &key, bell(input, at)?),
            "weights" => once(&mut self.weights, &key, assigned_list(input)?),
            "when" => once(&mut self.when, &key, statements(input)?),
            "repeat" => once(&mut self.repeat, &key, assigned(input)?),
            "name" => once(&mut self.name, &key, assigned(input)?),
            other => Err(Error::new(at, format!("there is no key `{other}`; the keys are {KEYS}"))),
        }
    }
}

/// The path to `luthier_core` that a struct or enum names.
pub(crate) fn crate_path(attributes: &[Attribute]) -> syn::Result<syn::Path> {
    let mut path: Option<Said<LitStr>> = None;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("tune")) {
        attribute.parse_args_with(|input: ParseStream<'_>| {
            comma_separated(input, |input| {
                let key = input.call(Ident::parse_any)?;
                if key == "crate" {
                    return once(&mut path, &key, assigned(input)?);
                }
                Err(Error::new(key.span(), format!("there is no key `{key}` here; the only one is `crate`")))
            })
        })?;
    }
    match path {
        Some(path) => path.value.parse_with(syn::Path::parse_mod_style),
        None => syn::parse_str("::luthier_core"),
    }
}

fn comma_separated(
    input: ParseStream<'_>,
    mut one: impl FnMut(ParseStream<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    while !input.is_empty() {
        one(input)?;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

fn once<T>(slot: &mut Option<Said<T>>, key: &Ident, value: T) -> syn::Result<()> {
    match slot.replace(Said { at: key.span(), value }) {
        None => Ok(()),
        Some(_) => Err(Error::new(key.span(), format!("`{key}` is given twice"))),
    }
}

fn assigned<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn assigned_list(input: ParseStream<'_>) -> syn::Result<Vec<Expr>> {
    input.parse::<Token![=]>()?;
    list(input)
}

fn list(input: ParseStream<'_>) -> syn::Result<Vec<Expr>> {
    let content;
    bracketed!(content in input);
    Ok(Punctuated::<Expr, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

fn bell(input: ParseStream<'_>, at: Span) -> syn::Result<Bell> {
    let content;
    parenthesized!(content in input);
    let (mut center, mut spread) = (None, None);
    comma_separated(&content, |input| {
        let key: Ident = input.parse()?;
        match key.to_string().as_str() {
            "center" => once(&mut center, &key, assigned(input)?),
            "spread" => once(&mut spread, &key, assigned(input)?),
            other => Err(Error::new(key.span(), format!("a prior has center and spread, not `{other}`"))),
        }
    })?;
    let center = center.ok_or_else(|| Error::new(at, "a prior needs a center: prior(center = …)"))?;
    Ok(Bell { center: center.value, spread: spread.map(|said| said.value) })
}

impl Parse for Repeat {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitInt) {
            return input.parse().map(Self::Times);
        }
        let name = input.parse();
        name.map(Self::Param)
            .map_err(|e| Error::new(e.span(), "repeat takes a field's name in quotes, or a number"))
    }
}

fn statements(input: ParseStream<'_>) -> syn::Result<Vec<Statement>> {
    let content;
    parenthesized!(content in input);
    if content.is_empty() {
        return Err(content.error("say what must hold, as in optimizer = \"sgd\""));
    }
    Ok(Punctuated::<Statement, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

impl Parse for Statement {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            return compare(Name::Text(input.parse()?), input);
        }
        let name: Ident = input.parse()?;
        if !input.peek(syn::token::Paren) {
            return compare(Name::Field(name), input);
        }
        match name.to_string().as_str() {
            "all" => statements(input).map(Self::All),
            "any" => statements(input).map(Self::Any),
            "not" => statements(input).map(Self::Not),
            other => Err(Error::new(name.span(), format!("`{other}(…)` is none of all, any and not"))),
        }
    }
}

fn compare(param: Name, input: ParseStream<'_>) -> syn::Result<Statement> {
    let sign = sign(input)?;
    if sign == "Eq" && input.peek(syn::token::Bracket) {
        return Ok(Statement::OneOf { param, values: list(input)? });
    }
    Ok(Statement::Compare { param, sign, value: input.parse()? })
}

/// The variant of `Comparison` that a sign means.
fn sign(input: ParseStream<'_>) -> syn::Result<&'static str> {
    // Longer signs first: `<` also begins `<=`.
    if input.peek(Token![==]) {
        return input.parse::<Token![==]>().map(|_| "Eq");
    }
    if input.peek(Token![!=]) {
        return input.parse::<Token![!=]>().map(|_| "Ne");
    }
    if input.peek(Token![<=]) {
        return input.parse::<Token![<=]>().map(|_| "Le");
    }
    if input.peek(Token![>=]) {
        return input.parse::<Token![>=]>().map(|_| "Ge");
    }
    if input.peek(Token![<]) {
        return input.parse::<Token![<]>().map(|_| "Lt");
    }
    if input.peek(Token![>]) {
        return input.parse::<Token![>]>().map(|_| "Gt");
    }
    if input.peek(Token![=]) {
        return input.parse::<Token![=]>().map(|_| "Eq");
    }
    Err(input.error("expected one of =, !=, <, <=, >, >="))
}
