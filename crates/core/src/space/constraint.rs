//! Which combinations of active parameters are allowed. Data, not a scripting language.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SpaceError;
use super::condition::{Condition, Owner, Scope, Test, compile};

/// A rule between parameters that every trial keeps.
///
/// A rule that mentions a parameter which is inactive in a trial says nothing about that trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Constraint {
    /// The condition must not hold.
    Forbid(Condition),
    /// The condition must hold.
    Require(Condition),
    /// `Σ weight · parameter ≤ at_most`; for `≥`, turn all signs.
    Linear {
        /// Weights by parameter name; numeric parameters only.
        weights: Vec<(Arc<str>, f64)>,
        /// The bound.
        at_most: f64,
    },
    /// The product of numeric parameters is at most a bound (memory: batch size × width).
    Product {
        /// The factors.
        of: Vec<Arc<str>>,
        /// The bound.
        at_most: f64,
    },
}

impl Constraint {
    /// Every parameter mentioned, possibly more than once.
    pub fn mentions(&self) -> Vec<&str> {
        match self {
            Self::Forbid(condition) | Self::Require(condition) => condition.mentions(),
            Self::Linear { weights, .. } => weights.iter().map(|(name, _)| &**name).collect(),
            Self::Product { of, .. } => of.iter().map(|name| &**name).collect(),
        }
    }

    /// The same constraint about other parameters: every name is replaced by `rename(name)`.
    pub(crate) fn renamed(&self, rename: &dyn Fn(&str) -> Arc<str>) -> Self {
        match self {
            Self::Forbid(condition) => Self::Forbid(condition.renamed(rename)),
            Self::Require(condition) => Self::Require(condition.renamed(rename)),
            Self::Linear { weights, at_most } => Self::Linear {
                weights: weights.iter().map(|(name, weight)| (rename(name), *weight)).collect(),
                at_most: *at_most,
            },
            Self::Product { of, at_most } => {
                Self::Product { of: of.iter().map(|name| rename(name)).collect(), at_most: *at_most }
            }
        }
    }
}

/// A constraint resolved against a space.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rule {
    Forbid(Test),
    Require(Test),
    Linear { terms: Vec<(usize, f64)>, at_most: f64 },
    Product { factors: Vec<usize>, at_most: f64 },
}

impl Rule {
    /// Whether a coded point keeps the rule.
    pub(crate) fn keeps(&self, point: &[f64]) -> bool {
        if self.params().iter().any(|&p| point[p].is_nan()) {
            return true;
        }
        match self {
            Self::Forbid(test) => !test.holds(point),
            Self::Require(test) => test.holds(point),
            Self::Linear { terms, at_most } => {
                let sum: f64 = terms.iter().map(|&(p, weight)| weight * point[p]).sum();
                let size: f64 = terms.iter().map(|&(p, weight)| (weight * point[p]).abs()).sum();
                sum <= at_most + ROUNDING * at_most.abs().max(size)
            }
            Self::Product { factors, at_most } => {
                factors.iter().map(|&p| point[p]).product::<f64>() <= at_most + ROUNDING * at_most.abs()
            }
        }
    }

    /// Indices of the parameters mentioned.
    pub(crate) fn params(&self) -> Vec<usize> {
        match self {
            Self::Forbid(test) | Self::Require(test) => test.params(),
            Self::Linear { terms, .. } => terms.iter().map(|(p, _)| *p).collect(),
            Self::Product { factors, .. } => factors.clone(),
        }
    }
}

/// Room for the rounding of a sum or a product of numbers written in decimals, relative to their size.
pub(crate) const ROUNDING: f64 = 1e-9;

/// Resolves constraint number `index` (from 0).
pub(crate) fn compile_rule(
    constraint: &Constraint,
    index: usize,
    scope: &Scope<'_>,
) -> Result<Rule, SpaceError> {
    let owner = Owner::Constraint(index);
    let number = |name: &Arc<str>| -> Result<usize, SpaceError> {
        let k = scope.resolve(name, &owner)?;
        match scope.parameters[k].distribution.range() {
            Some(_) => Ok(k),
            None => Err(owner.wrong(format!("{name:?} is not a number"))),
        }
    };
    let finite = |what: &str, x: f64| {
        let problem = || owner.wrong(format!("{what} must be a finite number, not {x}"));
        x.is_finite().then_some(x).ok_or_else(problem)
    };
    match constraint {
        Constraint::Forbid(condition) => Ok(Rule::Forbid(compile(condition, &owner, scope)?)),
        Constraint::Require(condition) => Ok(Rule::Require(compile(condition, &owner, scope)?)),
        Constraint::Linear { weights, at_most } => {
            if weights.is_empty() {
                return Err(owner.wrong("there are no weights; name at least one parameter".into()));
            }
            let terms = weights
                .iter()
                .map(|(name, w)| Ok((number(name)?, finite(&format!("the weight of {name:?}"), *w)?)))
                .collect::<Result<_, SpaceError>>()?;
            Ok(Rule::Linear { terms, at_most: finite("the bound", *at_most)? })
        }
        Constraint::Product { of, at_most } => {
            if of.is_empty() {
                return Err(owner.wrong("the product is empty; name at least one parameter".into()));
            }
            let factors = of.iter().map(number).collect::<Result<_, SpaceError>>()?;
            Ok(Rule::Product { factors, at_most: finite("the bound", *at_most)? })
        }
    }
}
