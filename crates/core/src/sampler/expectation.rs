//! Whether users' priors still stand once results are known, for samplers that draw from them or begin with them.
//!
//! A prior is taken for wrong while the best trial is where a uniform draw leads sooner than the priors do: the product of
//! their densities there, without doubt, is below that of the uniform ones. One draw in five ignores the priors, and stands out
//! where they are wrong; the first few trials say nothing yet, since all of them may have been such draws. With several objectives the
//! trials on the front are asked, of the latest ones, and the half of them decides.

use crate::rng::Rng;
use crate::space::Point;
use crate::study::Study;
use crate::trial::Trial;

/// Finished trials from which on the best one counts.
const LEAST: usize = 5;
/// The latest trials, among which a front is looked for.
const LATEST: usize = 200;

/// Whether the priors are followed.
pub(super) fn stands(study: &Study) -> bool {
    let has_priors = study.space().parameters().iter().any(|parameter| parameter.prior.is_some());
    if !has_priors || study.finished().len() < LEAST {
        return true;
    }
    let best = if study.metrics().objectives.len() < 2 {
        Vec::from_iter(study.incumbent())
    } else {
        let latest = study.finished().iter().rev().take(LATEST);
        study.front_of(latest.map(|number| &study.trials()[*number as usize]))
    };
    let best: Vec<&Trial> = best.into_iter().filter(|trial| !trial.outside).collect();
    let expected = best.iter().filter(|trial| study.space().log_expectation(&trial.point) >= 0.0);
    2 * expected.count() >= best.len()
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
