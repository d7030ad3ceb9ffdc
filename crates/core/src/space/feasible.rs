//! Conditions and constraints that no values can meet, found when a space is made.
//!
//! Three steps, cheapest first: narrow the range of every parameter involved and see whether one runs empty (proves
//! that nothing fits); try a few dozen spread points (proves that something does); look at every combination of
//! the parameters involved where those are few. What none of the three decides is let through: the drawing of
//! points has its own bound. Parameters taken out of the search count as if they were still in it, so that taking
//! one out never invalidates a space.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::condition::{Comparison, MAX_DEPTH, Test};
use super::constraint::{ROUNDING, Rule};
use super::{Space, SpaceError, WheelGrid};

/// How many spread points are tried.
const WITNESSES: usize = 64;
/// How many combinations are looked at.
const EXACT: u64 = 100_000;
/// How many statements one question may lead to.
const FUEL: u32 = 20_000;

/// Refuses a condition that can never hold and a constraint that nothing meets.
pub(super) fn check(space: &Space) -> Result<(), SpaceError> {
    if space.is_conditional() || !space.rules.is_empty() {
        let space = &*with_all_in(space);
        let witnesses = witnesses(space);
        for &k in &space.order {
            check_condition(space, k, &witnesses)?;
        }
        for (index, rule) in space.rules.iter().enumerate() {
            check_rule(space, index, rule, &witnesses)?;
        }
        check_together(space, &witnesses)?;
    }
    Ok(())
}

fn with_all_in(space: &Space) -> Cow<'_, Space> {
    let mut space = Cow::Borrowed(space);
    if space.parameters.iter().any(|p| p.retired) {
        space.to_mut().parameters.iter_mut().for_each(|p| p.retired = false);
    }
    space
}

fn check_condition(space: &Space, k: usize, witnesses: &[Vec<f64>]) -> Result<(), SpaceError> {
    let Some(test) = &space.conditions[k] else { return Ok(()) };
    if witnesses.iter().any(|point| !point[k].is_nan()) {
        return Ok(());
    }
    let never = |problem: &str| {
        Err(SpaceError::Parameter {
            name: space.parameters[k].name.clone(),
            field: "when",
            problem: problem.into(),
        })
    };
    if !Ranges::new(space).meets(test, true) {
        return never("the condition can never hold; change it, or remove the parameter");
    }
    if is_single_and_free(space, test) {
        return Ok(());
    }
    match any_combination(space, &test.params(), |point| test.holds(point)) {
        Some(false) => never("the condition can never hold; change it, or remove the parameter"),
        Some(true) | None => Ok(()),
    }
}

fn check_rule(space: &Space, index: usize, rule: &Rule, witnesses: &[Vec<f64>]) -> Result<(), SpaceError> {
    let params = rule.params();
    let applies = |point: &[f64]| params.iter().all(|&p| !point[p].is_nan());
    if witnesses.iter().any(|point| applies(point) && rule.keeps(point)) {
        return Ok(());
    }
    let mut ranges = Ranges::new(space);
    if !params.iter().all(|&p| ranges.activate(p)) {
        return Ok(()); // They are never active together: the rule says nothing, and does no harm.
    }
    let fail = || Err(SpaceError::Constraint { index, problem: impossible(space, rule) });
    if !ranges.meets_rule(rule) {
        return fail();
    }
    let mut applied = false;
    let met = any_combination(space, &params, |point| {
        applied |= applies(point);
        applies(point) && rule.keeps(point)
    });
    if met == Some(false) && applied { fail() } else { Ok(()) }
}

/// Names the parameters: a constraint of a repeated group is impossible at one k, perhaps, and not at another.
fn impossible(space: &Space, rule: &Rule) -> String {
    let mut names: Vec<String> = Vec::new();
    for p in rule.params() {
        let name = format!("{:?}", space.parameters[p].name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(8);
    names.truncate(8);
    let of = if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) };
    match rule {
        Rule::Forbid(_) => format!("it forbids every value that {of} can have; narrow it or remove it"),
        Rule::Require(_) => format!("no values of {of} meet it; loosen it or remove it"),
        Rule::Linear { .. } => {
            format!("no values of {of} keep the weighted sum within the bound; move the bound")
        }
        Rule::Product { .. } => {
            format!("no values of {of} keep the product within the bound; raise the bound")
        }
    }
}

/// Constraints that are met one by one, but never all at once, in spaces small enough to look at.
fn check_together(space: &Space, witnesses: &[Vec<f64>]) -> Result<(), SpaceError> {
    if space.rules.is_empty() || witnesses.iter().any(|point| space.allows(point)) {
        return Ok(());
    }
    let every: Vec<usize> = space.rules.iter().flat_map(Rule::params).collect();
    if any_combination(space, &every, |point| space.allows(point)) != Some(false) {
        return Ok(());
    }
    let first = (1..=space.rules.len()).find(|&n| {
        let rules = &space.rules[..n];
        let params: Vec<usize> = rules.iter().flat_map(Rule::params).collect();
        any_combination(space, &params, |point| rules.iter().all(|rule| rule.keeps(point))) == Some(false)
    });
    let index = first.unwrap_or(space.rules.len()) - 1;
    let problem =
        "together with the constraints before it, it leaves no values at all; loosen one of them".into();
    Err(SpaceError::Constraint { index, problem })
}

/// A comparison of one parameter that is always active with a constant: narrowing is exact there.
fn is_single_and_free(space: &Space, test: &Test) -> bool {
    match test {
        Test::Value { param, .. } | Test::In { param, .. } => space.conditions[*param].is_none(),
        Test::Params { .. } | Test::Choices { .. } | Test::All(_) | Test::Any(_) | Test::Not(_) => false,
    }
}

/// Points spread over the space by a Weyl sequence with one irrational step per parameter; frozen, so that the
/// same space is always judged alike.
fn witnesses(space: &Space) -> Vec<Vec<f64>> {
    let step = |k: usize| ((k + 2) as f64).sqrt() * 0.754_877_666_246_692_8 % 1.0;
    (0..WITNESSES.min(1_000_000 / space.len().max(1)))
        .map(|i| {
            let cube: Vec<f64> = (0..space.len()).map(|k| (0.5 + i as f64 * step(k)) % 1.0).collect();
            space.from_unit(&cube).0.into_vec()
        })
        .collect()
}

/// Whether some combination of `params` (and of what activates them) passes; `None` if there are too many to look.
fn any_combination(space: &Space, params: &[usize], mut passes: impl FnMut(&[f64]) -> bool) -> Option<bool> {
    let involved = with_ancestors(space, params);
    let wheels: Vec<usize> = space.order.iter().copied().filter(|k| involved.contains(k)).collect();
    let cells =
        wheels.iter().map(|&k| space.parameters[k].distribution.cells()).collect::<Option<Vec<_>>>()?;
    if cells.iter().try_fold(1_u64, |product, &n| product.checked_mul(n))? > EXACT {
        return None;
    }
    let grid = WheelGrid {
        value: |k: usize, i| space.parameters[k].distribution.cell(i),
        count: |k: usize| space.parameters[k].distribution.cells().unwrap_or(1),
    };
    let mut found = false;
    space.turn(&wheels, &grid, &mut |point| {
        found |= passes(point);
        !found
    });
    Some(found)
}

fn with_ancestors(space: &Space, params: &[usize]) -> BTreeSet<usize> {
    let mut involved = BTreeSet::new();
    let mut todo = params.to_vec();
    while let Some(k) = todo.pop() {
        if involved.insert(k)
            && let Some(test) = &space.conditions[k]
        {
            todo.extend(test.params());
        }
    }
    involved
}

/// What is left of the parameters' values while statements about them are taken in, one after another.
///
/// Errs on the side of more values: "does not meet" is certain, "meets" is not.
#[derive(Clone)]
struct Ranges<'a> {
    space: &'a Space,
    /// Parameters known to be active, with the coded values left to them.
    active: HashMap<usize, Range>,
    /// How many conditions hang on one another at this point.
    depth: usize,
    /// Statements that may still be looked at; beyond them everything counts as met.
    fuel: Rc<Cell<u32>>,
}

/// Coded values: an interval, minus some, and if `among` is given only those.
#[derive(Clone)]
struct Range {
    low: f64,
    high: f64,
    low_open: bool,
    high_open: bool,
    among: Option<Vec<f64>>,
    /// The bits of the values taken out.
    without: HashSet<u64>,
}

impl<'a> Ranges<'a> {
    fn new(space: &'a Space) -> Self {
        Self { space, active: HashMap::new(), depth: 0, fuel: Rc::new(Cell::new(FUEL)) }
    }

    /// Takes in that a parameter is active, and so that its condition holds; false if that cannot be.
    fn activate(&mut self, param: usize) -> bool {
        if self.active.contains_key(&param) {
            return true;
        }
        let distribution = &self.space.parameters[param].distribution;
        let cells = distribution.cells().unwrap_or(1);
        let (low, high) = distribution.range().unwrap_or((0.0, (cells - 1) as f64));
        let range =
            Range { low, high, low_open: false, high_open: false, among: None, without: HashSet::new() };
        self.active.insert(param, range);
        match &self.space.conditions[param] {
            Some(test) if self.depth < MAX_DEPTH => {
                self.depth += 1;
                let met = self.meets(test, true);
                self.depth -= 1;
                met
            }
            Some(_) | None => true,
        }
    }

    /// Takes in that `test` comes out as `wanted`; false if that cannot be.
    fn meets(&mut self, test: &Test, wanted: bool) -> bool {
        self.fuel.set(self.fuel.get().saturating_sub(1));
        if self.fuel.get() == 0 {
            return true;
        }
        match test {
            Test::Not(part) => self.meets(part, !wanted),
            Test::All(parts) if wanted => parts.iter().all(|part| self.meets(part, true)),
            Test::Any(parts) if !wanted => parts.iter().all(|part| self.meets(part, false)),
            Test::All(parts) | Test::Any(parts) => parts.iter().any(|part| self.clone().meets(part, wanted)),
            // A comparison with an inactive parameter is false: that alone may be what is wanted.
            _ if !wanted && test.params().iter().any(|p| self.may_be_inactive(*p)) => true,
            Test::Value { param, sign, value } => {
                let sign = if wanted { *sign } else { opposite(*sign) };
                self.activate(*param) && self.narrow(*param, |range| range.compare(sign, *value))
            }
            Test::In { param, values } => {
                self.activate(*param)
                    && self
                        .narrow(*param, |range| if wanted { range.keep(values) } else { range.drop(values) })
            }
            Test::Params { left, sign, right } => {
                let sign = if wanted { *sign } else { opposite(*sign) };
                self.activate(*left) && self.activate(*right) && self.compare(*left, sign, *right)
            }
            Test::Choices { left, right, equal, same } => {
                let equal = *equal == wanted;
                self.activate(*left)
                    && self.activate(*right)
                    && (if left == right { equal } else { !equal || same.iter().any(Option::is_some) })
            }
        }
    }

    fn may_be_inactive(&self, param: usize) -> bool {
        self.space.conditions[param].is_some() && !self.active.contains_key(&param)
    }

    fn narrow(&mut self, param: usize, change: impl FnOnce(&mut Range)) -> bool {
        let distribution = &self.space.parameters[param].distribution;
        let Some(range) = self.active.get_mut(&param) else { return true };
        change(range);
        match distribution.cells() {
            Some(cells) if cells <= EXACT && range.among.is_none() => {
                (0..cells).any(|i| range.contains(distribution.cell(i)))
            }
            Some(_) | None => !range.is_empty(),
        }
    }

    /// Both sides active; takes in the comparison.
    fn compare(&mut self, left: usize, sign: Comparison, right: usize) -> bool {
        if left == right {
            return sign.holds(0.0, 0.0);
        }
        let (a, b) = (self.active[&left].clone(), self.active[&right].clone());
        match sign {
            Comparison::Lt => a.low < b.high,
            Comparison::Le => a.low <= b.high,
            Comparison::Gt => a.high > b.low,
            Comparison::Ge => a.high >= b.low,
            Comparison::Eq => a.low <= b.high && b.low <= a.high,
            Comparison::Ne => !(a.low == a.high && b.low == b.high && a.low == b.low),
        }
    }

    /// Whether a rule whose parameters are all active may be kept.
    fn meets_rule(&mut self, rule: &Rule) -> bool {
        match rule {
            Rule::Forbid(test) => self.meets(test, false),
            Rule::Require(test) => self.meets(test, true),
            Rule::Linear { terms, at_most } => {
                let ends = terms.iter().map(|&(p, weight)| {
                    let Range { low, high, .. } = self.active[&p];
                    ((weight * low).min(weight * high), (weight * low).abs().max((weight * high).abs()))
                });
                let (least, size) = ends.fold((0.0, 0.0), |(sum, size), (x, s)| (sum + x, size + s));
                least <= at_most + ROUNDING * at_most.abs().max(size)
            }
            Rule::Product { factors, at_most } => {
                let least = factors.iter().fold((1.0, 1.0), |(low, high): (f64, f64), p| {
                    let range = &self.active[p];
                    let corners = [low * range.low, low * range.high, high * range.low, high * range.high];
                    (
                        corners.into_iter().fold(f64::INFINITY, f64::min),
                        corners.into_iter().fold(f64::NEG_INFINITY, f64::max),
                    )
                });
                least.0 <= at_most + ROUNDING * at_most.abs()
            }
        }
    }
}

impl Range {
    fn compare(&mut self, sign: Comparison, value: f64) {
        match sign {
            Comparison::Eq => self.keep(&[value]),
            Comparison::Ne => self.drop(&[value]),
            Comparison::Lt => self.below(value, true),
            Comparison::Le => self.below(value, false),
            Comparison::Gt => self.above(value, true),
            Comparison::Ge => self.above(value, false),
        }
    }

    fn below(&mut self, value: f64, open: bool) {
        if value < self.high || (value == self.high && open) {
            (self.high, self.high_open) = (value, open);
        }
    }

    fn above(&mut self, value: f64, open: bool) {
        if value > self.low || (value == self.low && open) {
            (self.low, self.low_open) = (value, open);
        }
    }

    /// `values` ascend.
    fn keep(&mut self, values: &[f64]) {
        match &mut self.among {
            Some(among) => {
                among.retain(|x| values.binary_search_by(|probe| probe.total_cmp(x)).is_ok());
            }
            None => self.among = Some(values.to_vec()),
        }
    }

    fn drop(&mut self, values: &[f64]) {
        self.without.extend(values.iter().map(|x| x.to_bits()));
    }

    fn contains(&self, x: f64) -> bool {
        (x > self.low || (x == self.low && !self.low_open))
            && (x < self.high || (x == self.high && !self.high_open))
            && !self.without.contains(&x.to_bits())
    }

    /// Whether nothing is left, holes between the values of a grid aside.
    fn is_empty(&self) -> bool {
        match &self.among {
            Some(among) => !among.iter().any(|&x| self.contains(x)),
            None if self.low < self.high => false,
            None => !(self.low == self.high && self.contains(self.low)),
        }
    }
}

fn opposite(sign: Comparison) -> Comparison {
    match sign {
        Comparison::Eq => Comparison::Ne,
        Comparison::Ne => Comparison::Eq,
        Comparison::Lt => Comparison::Ge,
        Comparison::Le => Comparison::Gt,
        Comparison::Gt => Comparison::Le,
        Comparison::Ge => Comparison::Lt,
    }
}
