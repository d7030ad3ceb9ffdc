//! Random forests: many regression trees over bootstrapped rows, whose disagreement says how sure they are (Breiman 2001;
//! Hutter, Hoos and Leyton-Brown 2011 for the search of parameters).
//!
//! Every tree splits numbers at thresholds and choices into two sets. An inactive number lies below all others and
//! an inactive choice is a choice of its own, so that trees take conditions as they come. A forest takes in one more row by
//! growing the leaves that it falls into. It does not transform losses: its units are those of the rows.
//!
//! ```
//! use luthier_core::rng::{Purpose, Rng};
//! use luthier_core::space::{Distribution, Parameter, Scale, Space};
//! use luthier_core::surrogate::Surrogate;
//! use luthier_core::surrogate::forest::{Forest, Row, Settings};
//!
//! let rate = Distribution::Float { low: 0.0, high: 2.0, scale: Scale::Linear, step: None };
//! let space = Space::new(vec![Parameter::new("rate", rate)], vec![]).unwrap();
//! let units = [[0.1], [0.3], [0.6], [0.9]];
//! let rows: Vec<Row> = units.iter().map(|unit| Row { unit, loss: unit[0] }).collect();
//! let mut rng = Rng::stream(1, 4, Purpose::Surrogate, 0);
//! let forest = Forest::fit(&space, &rows, &Settings::default(), &mut rng);
//! assert!(forest.belief(&[0.15]).mean < forest.belief(&[0.8]).mean);
//! ```

use super::{Belief, Surrogate};
use crate::rng::Rng;
use crate::space::Space;

/// The coordinate of an inactive number, below the unit interval.
const INACTIVE: f64 = -1.0;

/// Sets of so many choices, the inactive one included, are listed; larger ones are told by a hash.
const LISTED: u64 = 64;

/// Random halves of choices that are tried; that none of them parts two choices has a probability of 2⁻⁶⁴.
const ATTEMPTS: usize = 64;

/// The smallest standard deviation a belief has, in the units of the rows.
const SMALLEST_DEVIATION: f64 = 1e-6;

/// How a node's split is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splits {
    /// The best threshold of all, half-way between two rows (Breiman et al. 1984).
    Best,
    /// The best gap between two rows, and a random threshold within it, which makes the mean smooth and the variance
    /// grow between rows (Hutter et al. 2014, "Algorithm runtime prediction", section 4.3.2).
    Between,
    /// One random threshold per coordinate, the best of those (Geurts, Ernst and Wehenkel 2006).
    Random,
}

/// How trees grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How many trees, from 1.
    pub trees: usize,
    /// Whether each tree sees rows drawn with replacement rather than all of them.
    pub bootstrap: bool,
    /// How splits are chosen.
    pub splits: Splits,
    /// Share of the coordinates that are looked at for a split, in (0, 1].
    pub features: f64,
    /// Distinct rows that a node needs to be split, from 2.
    pub min_split: usize,
    /// Distinct rows that each side of a split must have, from 1.
    pub min_leaf: usize,
    /// Splits between the root and a leaf at most.
    pub max_depth: usize,
    /// The least variance within a leaf, in squared units of the rows.
    pub least_variance: f64,
}

impl Default for Settings {
    /// Those of SMAC3 2.4 for tuning: ten bootstrapped trees of full depth that look at all coordinates.
    fn default() -> Self {
        Self {
            trees: 10,
            bootstrap: true,
            splits: Splits::Random,
            features: 1.0,
            min_split: 2,
            min_leaf: 1,
            max_depth: 1 << 20,
            least_variance: 0.0,
        }
    }
}

/// What is known at one point.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Unit coordinates, one per parameter, NaN where inactive.
    pub unit: &'a [f64],
    /// The loss there, finite.
    pub loss: f64,
}

/// A random forest over the points of a space.
#[derive(Clone, Debug)]
pub struct Forest {
    settings: Settings,
    table: Table,
    trees: Vec<Tree>,
}

impl Forest {
    /// A forest grown from `rows`; without rows it believes in 0 ± 1 everywhere.
    pub fn fit(space: &Space, rows: &[Row], settings: &Settings, rng: &mut Rng) -> Self {
        let mut table = Table::of(space);
        for row in rows {
            table.push(row);
        }
        let mut grower = Grower { table: &table, settings, rng, scratch: Scratch::default() };
        let trees = (0..settings.trees.max(1)).map(|_| grower.tree()).collect();
        Self { settings: *settings, table, trees }
    }

    /// Rows taken in.
    pub fn len(&self) -> usize {
        self.table.losses.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.losses.is_empty()
    }

    /// Takes in one more row: each tree grows the leaf into which it falls. A bootstrapped tree sees it as often as it
    /// would in a large sample, a Poisson number of times (Oza and Russell 2001).
    ///
    /// Splits further up stay as they were, so a forest that has doubled by this is worse than one grown at once.
    pub fn push(&mut self, row: Row, rng: &mut Rng) {
        self.add(row, self.settings.bootstrap, rng);
    }

    /// Takes in a row that is only believed, which every tree sees once.
    pub fn push_believed(&mut self, unit: &[f64], loss: f64, rng: &mut Rng) {
        self.add(Row { unit, loss }, false, rng);
    }

    fn add(&mut self, row: Row, is_bootstrapped: bool, rng: &mut Rng) {
        let added = self.table.push(&row);
        for tree in &mut self.trees {
            let weight = if is_bootstrapped { poisson(rng) } else { 1 };
            tree.weights.push(weight);
            if weight > 0 {
                let scratch = Scratch::default();
                let mut grower = Grower { table: &self.table, settings: &self.settings, rng, scratch };
                grower.extend(tree, added);
            }
        }
    }

    /// What each tree predicts at `unit`: the mean loss in its leaf.
    pub fn predictions(&self, unit: &[f64]) -> Vec<f64> {
        let features = self.table.features(unit);
        self.trees.iter().map(|tree| tree.leaf(&features).mean).collect()
    }
}

impl Surrogate for Forest {
    /// The mean of the trees and, by the law of total variance, the variance of their means plus the mean of the
    /// variances within their leaves (Hutter et al. 2014, section 4.3.2).
    fn belief(&self, unit: &[f64]) -> Belief {
        if self.is_empty() {
            return Belief { mean: 0.0, deviation: 1.0 };
        }
        let features = self.table.features(unit);
        let (mut mean, mut square, mut within) = (0.0, 0.0, 0.0);
        for tree in &self.trees {
            let leaf = tree.leaf(&features);
            mean += leaf.mean;
            square += leaf.mean * leaf.mean;
            within += leaf.variance;
        }
        let count = self.trees.len() as f64;
        mean /= count;
        let variance = (square / count - mean * mean).max(0.0) + within / count;
        Belief { mean, deviation: variance.sqrt().max(SMALLEST_DEVIATION) }
    }
}

/// What a parameter is to a tree.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Number,
    /// So many choices; the one after the last stands for inactive.
    Choices(u64),
}

/// Rows as trees see them: the features of parameters with more than one value.
#[derive(Clone, Debug)]
struct Table {
    /// Which parameters, and what they are.
    axes: Vec<(usize, Kind)>,
    /// Features, row by row.
    cells: Vec<f64>,
    losses: Vec<f64>,
}

impl Table {
    fn of(space: &Space) -> Self {
        let axis = |k: usize| {
            let parameter = &space.parameters()[k];
            let distribution = &parameter.distribution;
            let kind = match distribution.cells() {
                Some(count) if distribution.is_categorical() => Kind::Choices(count),
                Some(_) | None => Kind::Number,
            };
            let is_free = !distribution.is_fixed() || parameter.when.is_some() || parameter.retired;
            is_free.then_some((k, kind))
        };
        Self { axes: (0..space.len()).filter_map(axis).collect(), cells: Vec::new(), losses: Vec::new() }
    }

    /// A point's features: numbers are unit coordinates, choices their index.
    fn features(&self, unit: &[f64]) -> Vec<f64> {
        self.axes.iter().map(|(k, kind)| feature(*kind, unit[*k])).collect()
    }

    fn push(&mut self, row: &Row) -> u32 {
        self.cells.extend(self.axes.iter().map(|(k, kind)| feature(*kind, row.unit[*k])));
        self.losses.push(row.loss);
        self.losses.len() as u32 - 1
    }

    fn at(&self, row: u32, axis: usize) -> f64 {
        self.cells[row as usize * self.axes.len() + axis]
    }

    fn features_of(&self, row: u32) -> &[f64] {
        let from = row as usize * self.axes.len();
        &self.cells[from..from + self.axes.len()]
    }
}

fn feature(kind: Kind, unit: f64) -> f64 {
    match kind {
        Kind::Number if unit.is_nan() => INACTIVE,
        Kind::Number => unit,
        Kind::Choices(count) if unit.is_nan() => count as f64,
        Kind::Choices(count) => (unit * count as f64).floor().min((count - 1) as f64),
    }
}

/// What goes to the left.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Numbers up to this one.
    UpTo(f64),
    /// Choices whose bit is set.
    Set(u64),
    /// Choices whose hash with this key is even.
    Hash(u64),
}

impl Rule {
    fn is_left(self, feature: f64) -> bool {
        match self {
            Self::UpTo(threshold) => feature <= threshold,
            Self::Set(bits) => bits >> (feature as u64) & 1 == 1,
            Self::Hash(key) => mixed(key ^ feature as u64) & 1 == 0,
        }
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014): every bit depends on every other.
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[derive(Clone, Debug)]
enum Node {
    /// The second child follows the first.
    Fork {
        axis: u32,
        rule: Rule,
        left: u32,
    },
    Leaf(Leaf),
}

#[derive(Clone, Debug, Default)]
struct Leaf {
    mean: f64,
    variance: f64,
    depth: u32,
    rows: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Tree {
    nodes: Vec<Node>,
    /// How often each row was drawn.
    weights: Vec<u32>,
}

impl Tree {
    fn leaf(&self, features: &[f64]) -> &Leaf {
        match &self.nodes[self.leaf_index(features)] {
            Node::Leaf(leaf) => leaf,
            Node::Fork { .. } => unreachable!("a walk down ends at a leaf"),
        }
    }

    fn leaf_index(&self, features: &[f64]) -> usize {
        let mut at = 0;
        while let Node::Fork { axis, rule, left } = &self.nodes[at] {
            at = *left as usize + usize::from(!rule.is_left(features[*axis as usize]));
        }
        at
    }
}

/// A way to part the rows of a node, and what it is worth.
#[derive(Clone, Copy)]
struct Parting {
    axis: usize,
    rule: Rule,
    worth: f64,
}

/// Weight and weighted losses of some rows.
#[derive(Clone, Copy, Default)]
struct Sums {
    rows: usize,
    weight: f64,
    loss: f64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.weight += other.weight;
        self.loss += other.loss;
    }

    fn without(self, other: Self) -> Self {
        Self {
            rows: self.rows - other.rows,
            weight: self.weight - other.weight,
            loss: self.loss - other.loss,
        }
    }

    /// Square of the sum over the weight: what parted sums have more of, squared errors have less of.
    fn worth(self) -> f64 {
        self.loss * self.loss / self.weight
    }
}

/// Room that is used again at every node.
#[derive(Default)]
struct Scratch {
    order: Vec<u32>,
    choices: Vec<Sums>,
}

struct Grower<'a> {
    table: &'a Table,
    settings: &'a Settings,
    rng: &'a mut Rng,
    scratch: Scratch,
}

impl Grower<'_> {
    fn tree(&mut self) -> Tree {
        let count = self.table.losses.len();
        let mut weights = vec![u32::from(!self.settings.bootstrap); count];
        if self.settings.bootstrap {
            for _ in 0..count {
                weights[self.rng.below(count as u64) as usize] += 1;
            }
        }
        let mut tree = Tree { nodes: vec![Node::Leaf(Leaf::default())], weights };
        let rows = (0..count as u32).filter(|row| tree.weights[*row as usize] > 0).collect();
        self.grow(&mut tree, 0, rows, 0);
        tree
    }

    /// Lets a row fall into its leaf, which grows.
    fn extend(&mut self, tree: &mut Tree, row: u32) {
        let at = tree.leaf_index(self.table.features_of(row));
        let Node::Leaf(leaf) = &mut tree.nodes[at] else { unreachable!("a walk down ends at a leaf") };
        let (mut rows, depth) = (std::mem::take(&mut leaf.rows), leaf.depth);
        rows.push(row);
        self.grow(tree, at, rows, depth);
    }

    /// Grows node `at` from `rows` until nothing can be parted.
    fn grow(&mut self, tree: &mut Tree, at: usize, rows: Vec<u32>, depth: u32) {
        let mut open = vec![(at, rows, depth)];
        while let Some((at, rows, depth)) = open.pop() {
            let Some(parting) = self.parting(&tree.weights, &rows, depth) else {
                tree.nodes[at] = Node::Leaf(self.leaf(&tree.weights, rows, depth));
                continue;
            };
            let is_left = |row: &u32| parting.rule.is_left(self.table.at(*row, parting.axis));
            let (lower, upper): (Vec<u32>, Vec<u32>) = rows.into_iter().partition(is_left);
            let left = tree.nodes.len();
            tree.nodes.extend([Node::Leaf(Leaf::default()), Node::Leaf(Leaf::default())]);
            tree.nodes[at] = Node::Fork { axis: parting.axis as u32, rule: parting.rule, left: left as u32 };
            open.push((left + 1, upper, depth + 1));
            open.push((left, lower, depth + 1));
        }
    }

    fn leaf(&self, weights: &[u32], rows: Vec<u32>, depth: u32) -> Leaf {
        let total = self.sums(weights, rows.iter());
        let mean = if total.rows == 0 { 0.0 } else { total.loss / total.weight };
        let squares = rows.iter().map(|row| {
            let row = *row as usize;
            f64::from(weights[row]) * (self.table.losses[row] - mean).powi(2)
        });
        let variance = if total.rows == 0 { 0.0 } else { squares.sum::<f64>() / total.weight };
        Leaf { mean, variance: variance.max(self.settings.least_variance), depth, rows }
    }

    fn sums<'r>(&self, weights: &[u32], rows: impl Iterator<Item = &'r u32>) -> Sums {
        let mut sums = Sums::default();
        for row in rows {
            sums.add(self.one(weights, *row));
        }
        sums
    }

    fn one(&self, weights: &[u32], row: u32) -> Sums {
        let weight = f64::from(weights[row as usize]);
        Sums { rows: 1, weight, loss: weight * self.table.losses[row as usize] }
    }

    /// The best parting of the rows over coordinates in random order, so that ties go to any; `None` where the rows
    /// are too few, too deep, all alike, or cannot be told apart.
    fn parting(&mut self, weights: &[u32], rows: &[u32], depth: u32) -> Option<Parting> {
        let settings = self.settings;
        let losses = &self.table.losses;
        let is_pure = rows.windows(2).all(|pair| losses[pair[0] as usize] == losses[pair[1] as usize]);
        if is_pure || rows.len() < settings.min_split.max(2) || depth as usize >= settings.max_depth {
            return None;
        }
        let total = self.sums(weights, rows.iter());
        let mut axes: Vec<u32> = (0..self.table.axes.len() as u32).collect();
        let mut wanted = ((axes.len() as f64 * settings.features).round() as usize).max(1);
        let mut best: Option<Parting> = None;
        for k in 0..axes.len() {
            let left = (axes.len() - k) as u64;
            axes.swap(k, k + self.rng.below(left) as usize);
            let axis = axes[k] as usize;
            if self.is_constant(axis, rows) {
                continue;
            }
            let found = self.along(axis, weights, rows, total);
            if let Some(found) = found.filter(|found| best.is_none_or(|best| found.worth > best.worth)) {
                best = Some(found);
            }
            wanted -= 1;
            if wanted == 0 {
                break;
            }
        }
        best
    }

    fn is_constant(&self, axis: usize, rows: &[u32]) -> bool {
        let first = self.table.at(rows[0], axis);
        rows[1..].iter().all(|row| self.table.at(*row, axis) == first)
    }

    fn along(&mut self, axis: usize, weights: &[u32], rows: &[u32], total: Sums) -> Option<Parting> {
        let (_, kind) = self.table.axes[axis];
        match (kind, self.settings.splits) {
            (Kind::Number, Splits::Random) => {
                let threshold = self.threshold_anywhere(axis, rows);
                self.tried(axis, Rule::UpTo(threshold), weights, rows, total)
            }
            (Kind::Number, Splits::Best | Splits::Between) => self.best_number(axis, weights, rows, total),
            (Kind::Choices(count), Splits::Best | Splits::Between) if count < LISTED => {
                self.best_set(axis, count, weights, rows, total)
            }
            (Kind::Choices(count), Splits::Best | Splits::Between | Splits::Random) => {
                let rule = self.half(axis, count, rows)?;
                self.tried(axis, rule, weights, rows, total)
            }
        }
    }

    /// Uniform between the smallest and the largest number, so that each side has one.
    fn threshold_anywhere(&mut self, axis: usize, rows: &[u32]) -> f64 {
        let numbers = rows.iter().map(|row| self.table.at(*row, axis));
        let (low, high) = numbers
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (f64::min(low, x), f64::max(high, x)));
        let threshold = low + self.rng.uniform() * (high - low);
        if threshold < high { threshold } else { low }
    }

    /// A random half of all choices that parts those of the rows.
    fn half(&mut self, axis: usize, count: u64, rows: &[u32]) -> Option<Rule> {
        for _ in 0..ATTEMPTS {
            let bits = self.rng.bits();
            let rule = if count < LISTED { Rule::Set(bits) } else { Rule::Hash(bits) };
            let first = rule.is_left(self.table.at(rows[0], axis));
            if rows[1..].iter().any(|row| rule.is_left(self.table.at(*row, axis)) != first) {
                return Some(rule);
            }
        }
        None
    }

    fn tried(&self, axis: usize, rule: Rule, weights: &[u32], rows: &[u32], total: Sums) -> Option<Parting> {
        let left = self.sums(weights, rows.iter().filter(|row| rule.is_left(self.table.at(**row, axis))));
        self.valued(axis, rule, left, total)
    }

    fn valued(&self, axis: usize, rule: Rule, left: Sums, total: Sums) -> Option<Parting> {
        let right = total.without(left);
        let least = self.settings.min_leaf.max(1);
        let is_fine = left.rows >= least && right.rows >= least;
        is_fine.then(|| Parting { axis, rule, worth: left.worth() + right.worth() })
    }

    fn best_number(&mut self, axis: usize, weights: &[u32], rows: &[u32], total: Sums) -> Option<Parting> {
        let mut order = std::mem::take(&mut self.scratch.order);
        order.clear();
        order.extend_from_slice(rows);
        order.sort_unstable_by(|a, b| {
            self.table.at(*a, axis).total_cmp(&self.table.at(*b, axis)).then(a.cmp(b))
        });
        let (mut left, mut best) = (Sums::default(), None::<Parting>);
        let mut gap = (0.0, 0.0);
        for pair in order.windows(2) {
            left.add(self.one(weights, pair[0]));
            let (low, high) = (self.table.at(pair[0], axis), self.table.at(pair[1], axis));
            if low == high {
                continue;
            }
            let found = self.valued(axis, Rule::UpTo(low), left, total);
            if let Some(found) = found.filter(|found| best.is_none_or(|best| found.worth > best.worth)) {
                (best, gap) = (Some(found), (low, high));
            }
        }
        self.scratch.order = order;
        let share = match self.settings.splits {
            Splits::Between => self.rng.uniform(),
            Splits::Best | Splits::Random => 0.5,
        };
        let threshold = gap.0 + share * (gap.1 - gap.0);
        let threshold = if threshold < gap.1 { threshold } else { gap.0 };
        best.map(|best| Parting { rule: Rule::UpTo(threshold), ..best })
    }

    /// The best of all sets: choices in the order of their mean loss are cut once (Fisher 1958; Breiman et al. 1984,
    /// theorem 4.5). Choices that no row has go to either side.
    fn best_set(
        &mut self,
        axis: usize,
        count: u64,
        weights: &[u32],
        rows: &[u32],
        total: Sums,
    ) -> Option<Parting> {
        let mut choices = std::mem::take(&mut self.scratch.choices);
        choices.clear();
        choices.resize(count as usize + 1, Sums::default());
        for row in rows {
            choices[self.table.at(*row, axis) as usize].add(self.one(weights, *row));
        }
        let mut order: Vec<usize> = (0..choices.len()).filter(|c| choices[*c].rows > 0).collect();
        let mean = |c: usize| choices[c].loss / choices[c].weight;
        order.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)).then(a.cmp(b)));
        let present = order.iter().fold(0, |bits, c| bits | 1u64 << c);
        let (mut left, mut set, mut best) = (Sums::default(), 0, None::<Parting>);
        for c in &order[..order.len() - 1] {
            left.add(choices[*c]);
            set |= 1u64 << c;
            let found = self.valued(axis, Rule::Set(set), left, total);
            if let Some(found) = found.filter(|found| best.is_none_or(|best| found.worth > best.worth)) {
                best = Some(found);
            }
        }
        self.scratch.choices = choices;
        let unseen = self.rng.bits() & !present;
        best.map(|best| match best.rule {
            Rule::Set(set) => Parting { rule: Rule::Set(set | unseen), ..best },
            Rule::UpTo(_) | Rule::Hash(_) => best,
        })
    }
}

/// A Poisson number with mean 1, by inversion.
fn poisson(rng: &mut Rng) -> u32 {
    let (u, mut count) = (rng.uniform(), 0);
    let mut mass = (-1.0f64).exp();
    let mut reached = mass;
    while u >= reached && count < 20 {
        count += 1;
        mass /= f64::from(count);
        reached += mass;
    }
    count
}
