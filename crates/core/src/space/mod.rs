//! The search space: parameters with distributions, conditions, priors and constraints.
//!
//! A [`Space`] is checked when it is made and cannot be wrong afterwards. It codes params as a [`Point`] and maps
//! points to the unit cube and back; nothing else in the core knows about scales, steps or choices.

mod builder;
mod condition;
mod constraint;
mod distribution;
mod feasible;
pub mod file;
mod prior;
mod tunable;
mod value;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use builder::SpaceBuilder;
pub use condition::{Comparison, Condition, Operand};
pub use constraint::Constraint;
pub use distribution::{Distribution, Scale};
pub use prior::Prior;
pub use tunable::{Tunable, TuneScope, TuneValue};
pub use value::{Params, Value};

use condition::{Owner, Scope, Test, compile};
use constraint::{Rule, compile_rule};

/// One hyperparameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The name, unique in its space.
    pub name: Arc<str>,
    /// Which values it may take.
    pub distribution: Distribution,
    /// Where the user expects good values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<Prior>,
    /// The value tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// When it is active; none means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Taken out of the search: inactive in every later trial, kept for the trials that had it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

impl Parameter {
    /// A parameter with a name and values and nothing else.
    pub fn new(name: impl Into<Arc<str>>, distribution: Distribution) -> Self {
        Self { name: name.into(), distribution, prior: None, default: None, when: None, retired: false }
    }
}

/// A coded point: one number per parameter of the space, NaN where the parameter is inactive.
///
/// Numbers are coded as themselves, choices and levels as their index.
#[derive(Clone, Debug)]
pub struct Point(pub Box<[f64]>);

impl Point {
    /// The coded value of parameter `index`, or `None` where it is inactive (or newer than the point).
    pub fn get(&self, index: usize) -> Option<f64> {
        self.0.get(index).copied().filter(|x| !x.is_nan())
    }
}

impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}
impl Eq for Point {}
impl std::hash::Hash for Point {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for x in &self.0 {
            x.to_bits().hash(state);
        }
    }
}

/// A checked search space.
///
/// ```
/// use luthier_core::space::{Params, Space};
/// let space = Space::builder().float("dropout", 0.0..=0.5).bool("shuffle").build()?;
/// let point = space.from_unit(&[0.5, 0.9]);
/// assert_eq!(space.decode(&point).to_string(), "dropout=0.25 shuffle=true");
/// let params = Params::new().with("dropout", 0.5).with("shuffle", false);
/// assert_eq!(space.to_unit(&space.encode(&params)?), [1.0, 0.25]);
/// # Ok::<(), luthier_core::space::SpaceError>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "SpaceData", into = "SpaceData")]
pub struct Space {
    parameters: Vec<Parameter>,
    constraints: Vec<Constraint>,
    index: HashMap<Arc<str>, usize>,
    /// Coded values of long lists of choices, by their text.
    lookup: Vec<Option<Lookup>>,
    conditions: Vec<Option<Test>>,
    rules: Vec<Rule>,
    /// Parents before children; otherwise as declared.
    order: Vec<usize>,
}

impl PartialEq for Space {
    fn eq(&self, other: &Self) -> bool {
        self.parameters == other.parameters && self.constraints == other.constraints
    }
}

/// What a space is made of, unchecked; its serialised form.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceData {
    /// The parameters in order.
    pub parameters: Vec<Parameter>,
    /// The constraints in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
}

impl TryFrom<SpaceData> for Space {
    type Error = SpaceError;
    fn try_from(data: SpaceData) -> Result<Self, SpaceError> {
        Self::new(data.parameters, data.constraints)
    }
}

impl From<Space> for SpaceData {
    fn from(space: Space) -> Self {
        Self { parameters: space.parameters, constraints: space.constraints }
    }
}

/// What is wrong with a space, a value or a point.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// A parameter's field is wrong.
    #[error("parameter {name:?}, {field}: {problem}")]
    Parameter {
        /// The parameter.
        name: Arc<str>,
        /// The field of its declaration.
        field: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Two parameters share a name.
    #[error("parameter {name:?} is declared twice; rename one of them")]
    Duplicate {
        /// The name.
        name: Arc<str>,
    },
    /// Conditions that depend on one another in a circle.
    #[error("{}", circle_text(names))]
    Cycle {
        /// The parameters of the circle.
        names: Vec<String>,
    },
    /// A constraint is wrong.
    #[error("constraint {}: {problem}", index + 1)]
    Constraint {
        /// Which, from 0.
        index: usize,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A value given for a trial does not fit.
    #[error("{name:?}: {problem}")]
    Value {
        /// The parameter.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

fn circle_text(names: &[String]) -> String {
    if let [one] = names {
        return format!("parameter {one:?}, when: the condition depends on {one:?} itself; remove that");
    }
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("the conditions of {} depend on one another in a circle; remove one of them", names.join(", "))
}

impl Space {
    /// Checks parameters and constraints and makes a space of them.
    pub fn new(parameters: Vec<Parameter>, constraints: Vec<Constraint>) -> Result<Self, SpaceError> {
        let mut index = HashMap::with_capacity(parameters.len());
        for (k, parameter) in parameters.iter().enumerate() {
            check_name(&parameter.name)?;
            if index.insert(parameter.name.clone(), k).is_some() {
                return Err(SpaceError::Duplicate { name: parameter.name.clone() });
            }
            parameter.distribution.check(&parameter.name)?;
        }
        let mut space =
            Self { lookup: lookups(&parameters), parameters, constraints, index, ..Self::default() };
        space.compile()?;
        feasible::check(&space)?;
        Ok(space)
    }

    /// Resolves names and values of conditions, hints and constraints.
    fn compile(&mut self) -> Result<(), SpaceError> {
        let find = |name: &str| self.find(name);
        let encode = |index: usize, value: &Value| self.code(index, value);
        let scope = Scope { parameters: &self.parameters, find: &find, encode: &encode };
        let mut conditions = Vec::with_capacity(self.len());
        for parameter in &self.parameters {
            check_hints(parameter)?;
            let owner = Owner::Parameter(&parameter.name);
            conditions.push(parameter.when.as_ref().map(|when| compile(when, &owner, &scope)).transpose()?);
        }
        let order = parents_first(&self.parameters, &conditions)?;
        let rules = self
            .constraints
            .iter()
            .enumerate()
            .map(|(k, constraint)| compile_rule(constraint, k, &scope))
            .collect::<Result<Vec<_>, _>>()?;
        (self.conditions, self.order, self.rules) = (conditions, order, rules);
        Ok(())
    }

    /// Starts a declaration in Rust; see [`SpaceBuilder`].
    pub fn builder() -> SpaceBuilder {
        SpaceBuilder::new()
    }

    /// The parameters in declared order, retired ones included.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The constraints in declared order.
    pub fn constraints(&self) -> &[Constraint] {
        &self.constraints
    }

    /// How many parameters there are: the length of a point.
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    /// Whether there is no parameter at all.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// The index of the parameter called `name`.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Indices of the parameters, each after those its condition mentions.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Whether parameter `index` is active at a point whose earlier parameters (in [`Space::order`]) are set.
    pub fn is_active(&self, index: usize, point: &[f64]) -> bool {
        !self.parameters[index].retired
            && self.conditions[index].as_ref().is_none_or(|test| test.holds(point))
    }

    /// Whether some parameter is active only sometimes.
    pub fn is_conditional(&self) -> bool {
        self.conditions.iter().any(Option::is_some)
    }

    /// Whether a coded point keeps every constraint.
    pub fn allows(&self, point: &[f64]) -> bool {
        self.rules.iter().all(|rule| rule.keeps(point))
    }

    /// The number of the first constraint that a coded point breaks.
    pub fn broken_constraint(&self, point: &[f64]) -> Option<usize> {
        self.rules.iter().position(|rule| !rule.keeps(point))
    }

    /// Builds a point from a coded value for each active parameter; inactive ones are never asked for.
    pub fn complete(&self, mut coded: impl FnMut(usize) -> f64) -> Point {
        let mut point = vec![f64::NAN; self.len()];
        for &k in &self.order {
            if self.is_active(k, &point) {
                point[k] = coded(k);
            }
        }
        Point(point.into())
    }

    /// The point at unit-cube coordinates, one per parameter; inactive parameters ignore theirs.
    pub fn from_unit(&self, cube: &[f64]) -> Point {
        self.complete(|k| self.parameters[k].distribution.from_unit(cube[k]))
    }

    /// The unit-cube coordinates of a point, NaN where inactive.
    pub fn to_unit(&self, point: &Point) -> Vec<f64> {
        (0..self.len())
            .map(|k| point.get(k).map_or(f64::NAN, |x| self.parameters[k].distribution.to_unit(x)))
            .collect()
    }

    /// The point at uniform coordinates pushed through the priors: uniform draws become draws from the priors.
    ///
    /// One draw in five ignores all priors at once, so that any region is found at a fifth of the rate that it has without
    /// them, however many priors are wrong: the coordinate of the first parameter with a prior decides. Each parameter by itself is
    /// distributed as [`Space::draw_one`] has it. Without priors this is [`Space::from_unit`].
    pub fn draw(&self, uniform: &[f64]) -> Point {
        let Some(first) = self.parameters.iter().position(|parameter| parameter.prior.is_some()) else {
            return self.from_unit(uniform);
        };
        let (doubts, rest) = prior::toss(uniform[first]);
        self.complete(|k| {
            let Parameter { distribution, prior, .. } = &self.parameters[k];
            let u = if k == first { rest } else { uniform[k] };
            let expected = prior.as_ref().filter(|_| !doubts);
            distribution.from_unit(expected.map_or(u, |prior| prior.expected_quantile(distribution, u)))
        })
    }

    /// Whether [`Space::draw`] ignores all priors, given the uniform coordinate of the first parameter with a prior.
    pub fn draws_despite_priors(&self, uniform: f64) -> bool {
        prior::toss(uniform).0
    }

    /// ln of how much likelier a point is under the priors than among uniform draws, doubt left aside: the sum over its active
    /// parameters with a prior. 0 without priors, −∞ where one of them rules the point out.
    pub fn log_expectation(&self, point: &Point) -> f64 {
        let log_ratio = |(k, parameter): (usize, &Parameter)| {
            let (prior, coded) = (parameter.prior.as_ref()?, point.get(k)?);
            let unit = parameter.distribution.to_unit(coded);
            Some(prior.expected_density(&parameter.distribution, unit).ln())
        };
        self.parameters.iter().enumerate().filter_map(log_ratio).sum()
    }

    /// The coded value of one parameter at a uniform coordinate pushed through its prior.
    pub fn draw_one(&self, index: usize, uniform: f64) -> f64 {
        let parameter = &self.parameters[index];
        match &parameter.prior {
            None => parameter.distribution.from_unit(uniform),
            Some(prior) => parameter.distribution.from_unit(prior.quantile(&parameter.distribution, uniform)),
        }
    }

    /// The point made of every parameter's default, or of the middle of its range where it has none.
    pub fn default_point(&self) -> Point {
        self.complete(|k| self.default_of(k))
    }

    fn default_of(&self, index: usize) -> f64 {
        let parameter = &self.parameters[index];
        let given = parameter.default.as_ref().and_then(|value| self.encode_one(index, value).ok());
        given.unwrap_or_else(|| match &parameter.prior {
            Some(prior) => parameter.distribution.from_unit(prior.mode(&parameter.distribution)),
            None => parameter.distribution.from_unit(0.5),
        })
    }

    /// Codes one value of one parameter.
    pub fn encode_one(&self, index: usize, value: &Value) -> Result<f64, SpaceError> {
        self.code(index, value)
            .map_err(|problem| SpaceError::Value { name: self.parameters[index].name.to_string(), problem })
    }

    fn code(&self, index: usize, value: &Value) -> Result<f64, String> {
        let found = self.lookup[index].as_ref().and_then(|lookup| lookup.get(&key_of(value)));
        match found {
            Some(&k) => Ok(f64::from(k)),
            None => self.parameters[index].distribution.encode(value),
        }
    }

    /// Codes params. Every active parameter must have a value and no inactive one may.
    pub fn encode(&self, params: &Params) -> Result<Point, SpaceError> {
        let wrong = |name: &str, problem: String| SpaceError::Value { name: name.into(), problem };
        let mut given = vec![f64::NAN; self.len()];
        for (name, value) in params.iter() {
            let k = self.find(name).ok_or_else(|| wrong(name, "the space has no such parameter".into()))?;
            given[k] = self.encode_one(k, value)?;
        }
        let point = self.complete(|k| given[k]);
        // Parents first: a missing parent is the reason why its children seem inactive.
        for &k in &self.order {
            let Parameter { name, retired, .. } = &self.parameters[k];
            if point.0[k].is_nan() && !given[k].is_nan() {
                let why =
                    if *retired { "it was taken out of the search" } else { "its condition does not hold" };
                return Err(wrong(name, format!("given a value, but {why}")));
            }
            if given[k].is_nan() && self.is_active(k, &point.0) {
                return Err(wrong(name, "active, but without a value".into()));
            }
        }
        if let Some(index) = self.broken_constraint(&point.0) {
            return Err(SpaceError::Constraint { index, problem: format!("{params} breaks it") });
        }
        Ok(point)
    }

    /// The params of a point, in declared order.
    pub fn decode(&self, point: &Point) -> Params {
        let mut params = Params::new();
        for (k, parameter) in self.parameters.iter().enumerate() {
            if let Some(coded) = point.get(k) {
                params.push(parameter.name.clone(), parameter.distribution.decode(coded));
            }
        }
        params
    }

    /// How many different points there are, if they are finitely many and at most `limit`.
    ///
    /// Also `None` when constraints forbid so much that `limit` (or 100,000 if that is more) combinations in a row
    /// were looked at in vain.
    pub fn cardinality(&self, limit: u64) -> Option<u64> {
        if !self.is_finite() {
            return None;
        }
        let patience = limit.max(100_000);
        let (mut count, mut in_vain) = (0, 0);
        self.turn(&self.order, &self.cell_grid(), &mut |point| {
            if self.allows(point) {
                (count, in_vain) = (count + 1, 0);
            } else {
                in_vain += 1;
            }
            count <= limit && in_vain <= patience
        });
        (count <= limit && in_vain <= patience).then_some(count)
    }

    fn is_finite(&self) -> bool {
        self.parameters.iter().all(|p| p.retired || p.distribution.cells().is_some())
    }

    /// Visits every allowed point of a finite space in odometer order: parameters in [`Space::order`], the last
    /// turns fastest, values ascending; inactive parameters do not turn. The visitor returns whether to go on.
    ///
    /// `None` if a parameter is continuous.
    pub fn visit_points(&self, visit: &mut dyn FnMut(&[f64]) -> bool) -> Option<()> {
        if !self.is_finite() {
            return None;
        }
        self.turn(&self.order, &self.cell_grid(), &mut |point| !self.allows(point) || visit(point));
        Some(())
    }

    /// Like [`Space::visit_points`] over any grid: parameter `k` takes the values `value(k, 0 … count(k) − 1)`.
    /// Where `count(k)` is 0, it takes one all the same.
    pub fn visit_grid(
        &self,
        value: &dyn Fn(usize, u64) -> f64,
        count: &dyn Fn(usize) -> u64,
        visit: &mut dyn FnMut(&[f64]) -> bool,
    ) {
        self.turn(&self.order, &WheelGrid { value, count }, &mut |point| !self.allows(point) || visit(point));
    }

    fn cell_grid(&self) -> WheelGrid<impl Fn(usize, u64) -> f64, impl Fn(usize) -> u64> {
        WheelGrid {
            value: |k: usize, i| self.parameters[k].distribution.cell(i),
            count: |k: usize| self.parameters[k].distribution.cells().unwrap_or(1),
        }
    }

    /// Turns the parameters `wheels` (parents before children) like an odometer, whatever the constraints say.
    fn turn<V: Fn(usize, u64) -> f64, C: Fn(usize) -> u64>(
        &self,
        wheels: &[usize],
        grid: &WheelGrid<V, C>,
        visit: &mut dyn FnMut(&[f64]) -> bool,
    ) {
        let mut point = vec![f64::NAN; self.len()];
        let mut turns: Vec<u64> = vec![0; wheels.len()];
        let mut depth = 0;
        loop {
            while depth < wheels.len() {
                let k = wheels[depth];
                point[k] = if self.is_active(k, &point) { (grid.value)(k, turns[depth]) } else { f64::NAN };
                depth += 1;
            }
            if !visit(&point) {
                return;
            }
            // Turn the last wheel that still can; the wheels after it start over.
            loop {
                if depth == 0 {
                    return;
                }
                depth -= 1;
                let k = wheels[depth];
                if !point[k].is_nan() && turns[depth] + 1 < (grid.count)(k) {
                    turns[depth] += 1;
                    break;
                }
                turns[depth] = 0;
                point[k] = f64::NAN;
            }
        }
    }
}

/// The values that each parameter takes in turn.
struct WheelGrid<V, C> {
    value: V,
    count: C,
}

/// Names reach file names, environment variables and terminals.
fn check_name(name: &Arc<str>) -> Result<(), SpaceError> {
    let problem = if name.is_empty() {
        "the name is empty"
    } else if name.len() > 256 {
        "the name is longer than 256 bytes"
    } else if name.chars().any(|c| c.is_control() || c == '{' || c == '}') {
        "a name may not contain control characters or braces"
    } else {
        return Ok(());
    };
    // The message stays short whatever the name.
    let name = name.chars().take(80).collect::<String>().into();
    Err(SpaceError::Parameter { name, field: "name", problem: problem.into() })
}

fn check_hints(parameter: &Parameter) -> Result<(), SpaceError> {
    let fail = |field: &'static str, problem: String| {
        Err(SpaceError::Parameter { name: parameter.name.clone(), field, problem })
    };
    if let Some(value) = &parameter.default
        && let Err(problem) = parameter.distribution.encode(value)
    {
        return fail("default", problem);
    }
    match &parameter.prior {
        Some(prior) => prior.check(&parameter.distribution).or_else(|problem| fail("prior", problem)),
        None => Ok(()),
    }
}

/// Kahn's algorithm that keeps the declared order wherever it may.
fn parents_first(parameters: &[Parameter], conditions: &[Option<Test>]) -> Result<Vec<usize>, SpaceError> {
    let parents: Vec<HashSet<usize>> = conditions
        .iter()
        .map(|c| c.as_ref().map(Test::params).unwrap_or_default().into_iter().collect())
        .collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); parameters.len()];
    let mut missing: Vec<usize> = parents.iter().map(HashSet::len).collect();
    for (child, set) in parents.iter().enumerate() {
        for &parent in set {
            children[parent].push(child);
        }
    }
    let mut ready: std::collections::BTreeSet<usize> =
        (0..parameters.len()).filter(|&k| missing[k] == 0).collect();
    let mut order = Vec::with_capacity(parameters.len());
    while let Some(k) = ready.pop_first() {
        order.push(k);
        for &child in &children[k] {
            missing[child] -= 1;
            if missing[child] == 0 {
                ready.insert(child);
            }
        }
    }
    if order.len() == parameters.len() {
        return Ok(order);
    }
    Err(SpaceError::Cycle { names: circle(parameters, &parents, &missing) })
}

/// The names on one circle. Every parameter left over has a parent that is left over, so a walk along them returns.
fn circle(parameters: &[Parameter], parents: &[HashSet<usize>], missing: &[usize]) -> Vec<String> {
    let mut path: Vec<usize> = Vec::new();
    let mut next = (0..parameters.len()).find(|&k| missing[k] > 0);
    while let Some(k) = next {
        if let Some(start) = path.iter().position(|&seen| seen == k) {
            path.drain(..start);
            break;
        }
        path.push(k);
        next = parents[k].iter().copied().filter(|&parent| missing[parent] > 0).min();
    }
    path.sort_unstable();
    path.into_iter().map(|k| parameters[k].name.to_string()).collect()
}

/// The codes of a long list of choices, by their text.
type Lookup = Arc<HashMap<String, u32>>;

/// Repeated parameters share one list, and so one lookup.
fn lookups(parameters: &[Parameter]) -> Vec<Option<Lookup>> {
    let mut made: HashMap<*const Value, Lookup> = HashMap::new();
    let lookup = |parameter: &Parameter| {
        let values = parameter.distribution.values().filter(|values| values.len() > 16)?;
        let codes = || Arc::new(values.iter().enumerate().map(|(k, v)| (key_of(v), k as u32)).collect());
        Some(made.entry(values.as_ptr()).or_insert_with(codes).clone())
    };
    parameters.iter().map(lookup).collect()
}

fn key_of(value: &Value) -> String {
    match value.as_f64() {
        // Adding zero makes -0 the same as 0.
        Some(x) => format!("#{}", x + 0.0),
        None => format!("{value:?}"),
    }
}

/// The guide's Rust blocks, run as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/guide/spaces.md")]
struct Guide;
