//! Whether users' priors still stand once results are known, for samplers that draw from them or begin with them.
//!
//! A prior is taken for wrong while the best trial is where a uniform draw leads sooner than the priors do: the product of
//! their densities there, without doubt, is below that of the uniform ones. One draw in five ignores the priors, and stands out
//! where they are wrong; the first few trials say nothing yet, since all of them may have been such draws. With several objectives
//! there is no best trial, and priors stand.

use crate::rng::Rng;
use crate::space::Point;
use crate::study::Study;

/// Finished trials from which on the best one counts.
const LEAST: usize = 5;

/// Whether the priors are followed.
pub(super) fn stands(study: &Study) -> bool {
    let counts = study.finished().len() >= LEAST && study.metrics().objectives.len() < 2;
    let best = study.incumbent().filter(|best| counts && !best.outside);
    best.is_none_or(|best| study.space().log_expectation(&best.point) >= 0.0)
}

/// An independent draw: from the priors, or from the whole space where they do not stand.
pub(super) fn drawn(study: &Study, rng: &mut Rng) -> Point {
    placed(study, &rng.uniforms(study.space().len()))
}

/// The point at uniform coordinates: pushed through the priors, or as they are where those do not stand.
pub(super) fn placed(study: &Study, cube: &[f64]) -> Point {
    let space = study.space();
    if stands(study) { space.draw(cube) } else { space.from_unit(cube) }
}
