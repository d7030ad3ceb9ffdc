//! Declaring a space in Rust, one line per parameter. Fills in the same forms as a space file and is checked alike.

use std::ops::RangeInclusive;

use super::file::{ConstraintForm, LinearForm, ParameterForm, ParameterType, PriorForm, ProductForm};
use super::file::{Repeat, SpaceFile, Table, WeightsForm};
use super::{Condition, Scale, Space, SpaceError, Value};

/// A space being declared.
///
/// What follows a parameter (`log`, `step`, `default`, `prior`, `when`, `repeat`, …) is said of that parameter.
/// Nothing is checked before [`SpaceBuilder::build`].
///
/// ```
/// use luthier_core::space::{Condition, Space};
/// let space = Space::builder()
///     .float("lr", 1e-5..=1e-1).log().default(1e-3).prior(1e-3, 0.2)
///     .int("layers", 1..=4)
///     .int("units", 8..=256).log().repeat("layers")
///     .categorical("optimizer", ["sgd", "adam"]).weights([1.0, 3.0])
///     .float("momentum", 0.5..=0.999).log1m().when(Condition::eq("optimizer", "sgd"))
///     .bool("nesterov").when(Condition::eq("optimizer", "sgd"))
///     .forbid(Condition::eq("layers", 4).and(Condition::ge("lr", 0.05)))
///     .build()?;
/// assert_eq!(space.len(), 9); // units[1] … units[4]
/// # Ok::<(), luthier_core::space::SpaceError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a declaration does nothing until it is built"]
pub struct SpaceBuilder {
    file: SpaceFile,
    /// The first thing said of a parameter before there was one.
    stray: Option<&'static str>,
    /// The first mistake that was found while declaring.
    mistake: Option<SpaceError>,
}

impl SpaceBuilder {
    pub(super) fn new() -> Self {
        Self { file: SpaceFile::default(), stray: None, mistake: None }
    }

    /// A parameter given as a form, as in a space file.
    pub fn parameter(mut self, name: impl Into<String>, form: ParameterForm) -> Self {
        self.file.params.0.push((name.into(), form));
        self
    }

    /// A number in a range.
    pub fn float(self, name: &str, range: RangeInclusive<f64>) -> Self {
        self.ranged(name, ParameterType::Float, (*range.start()).into(), (*range.end()).into())
    }

    /// A whole number in a range.
    pub fn int(self, name: &str, range: RangeInclusive<i64>) -> Self {
        self.ranged(name, ParameterType::Int, (*range.start()).into(), (*range.end()).into())
    }

    /// True or false.
    pub fn bool(self, name: &str) -> Self {
        self.parameter(name, ParameterForm { kind: Some(ParameterType::Bool), ..ParameterForm::default() })
    }

    /// One of several choices without an order.
    pub fn categorical<V: Into<Value>>(self, name: &str, choices: impl IntoIterator<Item = V>) -> Self {
        let choices = Some(choices.into_iter().map(Into::into).collect());
        let kind = Some(ParameterType::Categorical);
        self.parameter(name, ParameterForm { kind, choices, ..ParameterForm::default() })
    }

    /// One of several levels, given from low to high.
    pub fn ordinal<V: Into<Value>>(self, name: &str, levels: impl IntoIterator<Item = V>) -> Self {
        let levels = Some(levels.into_iter().map(Into::into).collect());
        let kind = Some(ParameterType::Ordinal);
        self.parameter(name, ParameterForm { kind, levels, ..ParameterForm::default() })
    }

    /// One value, passed on as it is.
    pub fn fixed(self, name: &str, value: impl Into<Value>) -> Self {
        let (kind, value) = (Some(ParameterType::Fixed), Some(value.into()));
        self.parameter(name, ParameterForm { kind, value, ..ParameterForm::default() })
    }

    /// Searched on a log scale: equal ratios count equally.
    pub fn log(self) -> Self {
        self.said("log", |form| form.scale = Some(Scale::Log))
    }

    /// Searched on the log scale of 1 − x, as for momentum.
    pub fn log1m(self) -> Self {
        self.said("log1m", |form| form.scale = Some(Scale::Log1m))
    }

    /// Only `low`, `low + step`, `low + 2·step`, ….
    pub fn step(self, step: impl Into<Value>) -> Self {
        self.said("step", |form| form.step = Some(step.into()))
    }

    /// The value tried first.
    pub fn default(self, value: impl Into<Value>) -> Self {
        self.said("default", |form| form.default = Some(value.into()))
    }

    /// Good values are expected around `center`; `spread` is the standard deviation as a share of the range on the
    /// parameter's scale, in (0, 1].
    pub fn prior(self, center: impl Into<Value>, spread: f64) -> Self {
        let prior = PriorForm { center: Some(center.into()), spread: Some(spread), weights: None };
        self.said("prior", |form| form.prior = Some(prior))
    }

    /// How often each choice is expected to be the best, relatively, in the order of the choices.
    pub fn weights(self, weights: impl IntoIterator<Item = f64>) -> Self {
        let weights = Some(WeightsForm::List(weights.into_iter().collect()));
        self.said("weights", |form| form.prior = Some(PriorForm { weights, ..PriorForm::default() }))
    }

    /// Active only while the condition holds. Said twice: while both hold.
    pub fn when(self, condition: Condition) -> Self {
        self.said("when", |form| {
            form.when = Some(match form.when.take() {
                Some(earlier) => earlier.and(condition),
                None => condition,
            });
        })
    }

    /// Repeated as `NAME[1]`, `NAME[2]`, …: as often as the int parameter of that name says, or always so often.
    ///
    /// In the parameter's `when`, `other[k]` means the repetition of `other` with the same number.
    pub fn repeat(self, repeat: impl Into<Repeat>) -> Self {
        self.said("repeat", |form| form.repeat = Some(repeat.into()))
    }

    /// No trial may fulfil the condition.
    pub fn forbid(self, condition: Condition) -> Self {
        self.constraint(ConstraintForm { forbid: Some(condition), ..ConstraintForm::default() })
    }

    /// Every trial fulfils the condition.
    pub fn require(self, condition: Condition) -> Self {
        self.constraint(ConstraintForm { require: Some(condition), ..ConstraintForm::default() })
    }

    /// `Σ weight · parameter ≤ at_most`.
    pub fn sum_at_most<'a>(self, weights: impl IntoIterator<Item = (&'a str, f64)>, at_most: f64) -> Self {
        self.linear(weights, Some(at_most), None)
    }

    /// `Σ weight · parameter ≥ at_least`.
    pub fn sum_at_least<'a>(self, weights: impl IntoIterator<Item = (&'a str, f64)>, at_least: f64) -> Self {
        self.linear(weights, None, Some(at_least))
    }

    /// The product of numbers is at most a bound.
    pub fn product_at_most<'a>(self, of: impl IntoIterator<Item = &'a str>, at_most: f64) -> Self {
        let product = Some(ProductForm { of: of.into_iter().map(str::to_owned).collect(), at_most });
        self.constraint(ConstraintForm { product, ..ConstraintForm::default() })
    }

    /// Checks the declaration and makes the space.
    pub fn build(self) -> Result<Space, SpaceError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        if let Some(field) = self.stray {
            let problem = "said before any parameter was declared; move it behind one".into();
            return Err(SpaceError::Parameter { name: "".into(), field, problem });
        }
        self.file.into_space().map_err(|misplaced| misplaced.error)
    }

    /// Notes a mistake that [`SpaceBuilder::build`] will report.
    pub(super) fn mistaken(mut self, mistake: SpaceError) -> Self {
        self.mistake.get_or_insert(mistake);
        self
    }

    fn ranged(self, name: &str, kind: ParameterType, low: Value, high: Value) -> Self {
        let form =
            ParameterForm { kind: Some(kind), low: Some(low), high: Some(high), ..ParameterForm::default() };
        self.parameter(name, form)
    }

    fn linear<'a>(
        self,
        weights: impl IntoIterator<Item = (&'a str, f64)>,
        at_most: Option<f64>,
        at_least: Option<f64>,
    ) -> Self {
        let weights = Table(weights.into_iter().map(|(name, weight)| (name.to_owned(), weight)).collect());
        let linear = Some(LinearForm { weights, at_most, at_least });
        self.constraint(ConstraintForm { linear, ..ConstraintForm::default() })
    }

    fn constraint(mut self, form: ConstraintForm) -> Self {
        self.file.constraints.push(form);
        self
    }

    fn said(mut self, what: &'static str, change: impl FnOnce(&mut ParameterForm)) -> Self {
        match self.file.params.0.last_mut() {
            Some((_, form)) => change(form),
            None => self.stray = self.stray.or(Some(what)),
        }
        self
    }
}
