//! The Python door: `luthier._core`, what the Python package `luthier` re-exports. Conversions only: everything that samples,
//! schedules or keeps a study is behind [`luthier::session`], and Python's lock is let go around every call of it.

mod desk;
mod entries;
mod error;
mod plan;
mod record;
mod space;
mod study;
mod trial;
mod value;

use pyo3::prelude::*;

/// The native part of the package `luthier`.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<space::Parameter>()?;
    module.add_class::<space::Space>()?;
    module.add_class::<study::Study>()?;
    module.add_class::<trial::Trial>()?;
    space::add_constructors(module)?;
    entries::add_lists(module)?;
    error::add_exceptions(module)
}
