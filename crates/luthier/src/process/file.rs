//! Which file it is, whatever it is called.

use std::fs::Metadata;
use std::path::Path;

/// Tells files apart where names do not: hard links to one file are equal, a file that took the place of another is not.
///
/// Elsewhere than on Unix nothing tells hard links apart, and a file cannot be replaced while it is open: there a file is its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileIdentity(u64, u64);

impl FileIdentity {
    /// That of the file at `path`, whose metadata is `about`.
    #[cfg(unix)]
    pub(crate) fn of(_path: &Path, about: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(about.dev(), about.ino())
    }

    /// That of the file at `path`.
    #[cfg(not(unix))]
    pub(crate) fn of(path: &Path, _about: &Metadata) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        Self(0, hasher.finish())
    }
}
