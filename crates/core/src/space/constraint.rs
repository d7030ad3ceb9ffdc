//! Which combinations of active parameters are allowed. Data, not a scripting language.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::condition::{Comparison, Condition, Owner, Test, compile};
use super::{Parameter, SpaceError};

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
                sum <= at_most + 1e-9 * at_most.abs().max(1.0)
            }
            Self::Product { factors, at_most } => {
                factors.iter().map(|&p| point[p]).product::<f64>() <= at_most * (1.0 + 1e-9)
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

/// Resolves constraint number `index` (from 0).
pub(crate) fn compile_rule(
    constraint: &Constraint,
    index: usize,
    parameters: &[Parameter],
    find: &dyn Fn(&str) -> Option<usize>,
) -> Result<Rule, SpaceError> {
    let owner = Owner::Constraint(index);
    let number = |name: &Arc<str>| -> Result<usize, SpaceError> {
        let probe = Condition::compare(name, Comparison::Le, 0.0);
        match compile(&probe, &owner, parameters, find)? {
            Test::Value { param, .. } if parameters[param].distribution.values().is_none() => Ok(param),
            _ => Err(owner.wrong(format!("{name:?} is not a number"))),
        }
    };
    match constraint {
        Constraint::Forbid(condition) => Ok(Rule::Forbid(compile(condition, &owner, parameters, find)?)),
        Constraint::Require(condition) => Ok(Rule::Require(compile(condition, &owner, parameters, find)?)),
        Constraint::Linear { weights, at_most } => {
            let terms =
                weights.iter().map(|(name, w)| Ok((number(name)?, *w))).collect::<Result<_, SpaceError>>()?;
            Ok(Rule::Linear { terms, at_most: *at_most })
        }
        Constraint::Product { of, at_most } => {
            let factors = of.iter().map(number).collect::<Result<_, SpaceError>>()?;
            Ok(Rule::Product { factors, at_most: *at_most })
        }
    }
}
