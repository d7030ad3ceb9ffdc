//! Checkpoints that are kept for others: what a trial had when it paused, by step, and how a new trial begins with it. Who
//! begins with what, and how long anything is kept, is decided elsewhere.
//!
//! Each copy is made under another name and renamed, so that it is there in whole or not at all, whenever somebody is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of a trial in which its pauses are.
const KEPT: &str = "kept";
/// Goes before the names of copies that are not complete.
const UNFINISHED: &str = "unfinished-";
/// How often a copy is begun again whose source changes meanwhile.
const ATTEMPTS: u32 = 100;

/// Whether a copy may share the files themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They are replaced and never changed in place: hard links do.
    Links,
    /// They may be changed: only a copy is safe.
    Copies,
}

/// What the trial of `folder` had at `step`.
pub(crate) fn at(folder: &Path, step: u64) -> PathBuf {
    folder.join(KEPT).join(step.to_string())
}

/// Keeps the present checkpoint of a trial as that of `step`, also in the place of one from before work was lost and done again.
/// A trial without files has an empty one.
pub(crate) fn keep(folder: &Path, checkpoint: &Path, step: u64, sharing: Sharing) -> io::Result<()> {
    replace(checkpoint, &at(folder, step), sharing)
}

/// Takes away the checkpoints that a folder has when its trial first begins: they are of another study that was here.
pub(crate) fn clear(folder: &Path, checkpoint: &Path) {
    for left in [checkpoint.to_owned(), beside(checkpoint, "new"), folder.join(KEPT)] {
        if left.exists() {
            discard(&left);
        }
    }
}

/// Gives a trial back what it had at `step`, if that was kept; returns whether it was.
pub(crate) fn take_up(folder: &Path, checkpoint: &Path, step: u64, sharing: Sharing) -> io::Result<bool> {
    let kept = at(folder, step);
    restore(&kept)?;
    let is_kept = kept.is_dir();
    if is_kept {
        replace(&kept, checkpoint, sharing)?;
    }
    Ok(is_kept)
}

/// Puts a copy of a folder, of an absent one an empty folder, in the place of another. Where that is cut short, [`restore`] finds
/// the one or the other.
pub(crate) fn replace(from: &Path, to: &Path, sharing: Sharing) -> io::Result<()> {
    restore(to)?;
    let [new, old] = ["new", "old"].map(|which| beside(to, which));
    remove(&new)?;
    remove(&old)?;
    copy_whole(from, &new, sharing)?;
    if to.exists() {
        fs::rename(to, &old)?;
    }
    fs::rename(new, to)?;
    // What cannot be removed only takes room.
    let _left = remove(&old);
    Ok(())
}

/// Has a folder be there again whose replacement was cut short between taking the old one away and putting the new one there.
pub(crate) fn restore(folder: &Path) -> io::Result<()> {
    let new = beside(folder, "new");
    if folder.exists() || !new.exists() { Ok(()) } else { fs::rename(new, folder) }
}

/// Takes a folder away, at once or not at all. What cannot be removed only takes room.
pub(crate) fn discard(folder: &Path) {
    let old = beside(folder, "old");
    let _gone = remove(&old).and_then(|()| fs::rename(folder, &old)).and_then(|()| remove(&old));
}

fn beside(folder: &Path, which: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!("{UNFINISHED}{which}-{name}"))
}

/// Lets a trial begin with the checkpoint that another had at `step`, unless it has one of its own already; returns whether it
/// has one then. It has none if that of the other is gone.
pub(crate) fn adopt(parent: &Path, step: u64, checkpoint: &Path, sharing: Sharing) -> io::Result<bool> {
    if checkpoint.is_dir() {
        return Ok(true);
    }
    let from = at(parent, step);
    restore(&from)?;
    if !from.is_dir() {
        return Ok(false);
    }
    copy_whole(&from, checkpoint, sharing)?;
    Ok(true)
}

/// Lets a trial whose checkpoint is gone go on with the latest that it had at a pause up to `step`; returns whether it has one
/// then.
pub(crate) fn fall_back(folder: &Path, checkpoint: &Path, step: u64, sharing: Sharing) -> io::Result<bool> {
    match steps(folder).range(..=step).next_back() {
        Some(&latest) => adopt(folder, latest, checkpoint, sharing),
        None => Ok(checkpoint.is_dir()),
    }
}

/// The steps at which something of the trial of `folder` is kept.
pub(crate) fn steps(folder: &Path) -> BTreeSet<u64> {
    let Ok(entries) = fs::read_dir(folder.join(KEPT)) else { return BTreeSet::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Lets go of what the trial of `folder` had at `step`.
pub(crate) fn forget(folder: &Path, step: u64) {
    discard(&at(folder, step));
    let _not_empty = fs::remove_dir(folder.join(KEPT));
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn copy_whole(from: &Path, to: &Path, sharing: Sharing) -> io::Result<()> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = to.with_file_name(format!("{UNFINISHED}{name}"));
    for attempt in 1.. {
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished)?;
        let copied = if from.is_dir() { copy_into(from, &unfinished, sharing) } else { Ok(()) };
        match copied {
            // A program that waits for nobody has renamed a file meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    fs::rename(&unfinished, to)
}

fn copy_into(from: &Path, to: &Path, sharing: Sharing) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_into(&source, &target, sharing)?;
        } else if sharing == Sharing::Copies || fs::hard_link(&source, &target).is_err() {
            // Some file systems have no hard links; where there are shared blocks, the copy costs no room.
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_child_has_what_its_parent_had_whatever_became_of_that() {
        for sharing in [Sharing::Links, Sharing::Copies] {
            let place = tempfile::tempdir().unwrap();
            let [parent, child] = ["00000", "00001"].map(|name| place.path().join(name));
            write(&parent.join("checkpoint/weights/a"), "ten");
            keep(&parent, &parent.join("checkpoint"), 10, sharing).unwrap();
            // In place, where that is allowed; else by another file.
            fs::remove_file(parent.join("checkpoint/weights/a")).unwrap();
            write(&parent.join("checkpoint/weights/a"), "twenty");
            keep(&parent, &parent.join("checkpoint"), 20, sharing).unwrap();
            assert!(adopt(&parent, 10, &child.join("checkpoint"), sharing).unwrap());
            assert_eq!(fs::read_to_string(child.join("checkpoint/weights/a")).unwrap(), "ten");
            assert_eq!(steps(&parent), BTreeSet::from([10, 20]));
            forget(&parent, 10);
            assert_eq!(steps(&parent), BTreeSet::from([20]));
            let other = place.path().join("00002/checkpoint");
            assert!(!adopt(&parent, 10, &other, sharing).unwrap() && !other.exists());
        }
    }

    #[test]
    fn a_trial_whose_checkpoint_is_gone_falls_back_to_its_latest_pause() {
        let place = tempfile::tempdir().unwrap();
        let (folder, checkpoint) = (place.path(), place.path().join("checkpoint"));
        for step in [3, 6, 9] {
            write(&checkpoint.join("a"), &step.to_string());
            keep(folder, &checkpoint, step, Sharing::Copies).unwrap();
        }
        discard(&checkpoint);
        assert!(!fall_back(folder, &checkpoint, 2, Sharing::Copies).unwrap(), "it had none so early");
        assert!(fall_back(folder, &checkpoint, 8, Sharing::Copies).unwrap());
        assert_eq!(
            fs::read_to_string(checkpoint.join("a")).unwrap(),
            "6",
            "never what is beyond its reports"
        );
        assert!(fall_back(folder, &checkpoint, 9, Sharing::Copies).unwrap());
        assert_eq!(fs::read_to_string(checkpoint.join("a")).unwrap(), "6", "what it has stays");
    }

    #[test]
    fn a_copy_that_is_changed_in_place_leaves_its_source_alone() {
        let place = tempfile::tempdir().unwrap();
        let parent = place.path().join("00000");
        write(&parent.join("checkpoint/a"), "ten");
        keep(&parent, &parent.join("checkpoint"), 10, Sharing::Copies).unwrap();
        fs::write(parent.join("checkpoint/a"), "twenty").unwrap();
        assert_eq!(fs::read_to_string(at(&parent, 10).join("a")).unwrap(), "ten");
    }

    #[test]
    fn a_replacement_that_is_cut_short_leaves_one_of_the_two() {
        let place = tempfile::tempdir().unwrap();
        let [home, checkpoint] = ["live", "checkpoint"].map(|name| place.path().join(name));
        write(&home.join("a"), "two");
        write(&checkpoint.join("a"), "one");
        let read = || fs::read_to_string(checkpoint.join("a")).unwrap();
        // While the new one is made, or once it is whole, the old one is there.
        write(&place.path().join("unfinished-unfinished-new-checkpoint/a"), "tw");
        restore(&checkpoint).unwrap();
        assert_eq!(read(), "one");
        write(&place.path().join("unfinished-new-checkpoint/a"), "two");
        restore(&checkpoint).unwrap();
        assert_eq!(read(), "one");
        // When that is away, the new one takes its place.
        fs::rename(&checkpoint, place.path().join("unfinished-old-checkpoint")).unwrap();
        restore(&checkpoint).unwrap();
        assert_eq!(read(), "two");
        write(&home.join("a"), "three");
        replace(&home, &checkpoint, Sharing::Copies).unwrap();
        assert_eq!(read(), "three");
        let names = fs::read_dir(place.path()).unwrap().flatten().map(|entry| entry.file_name());
        assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(["checkpoint".into(), "live".into()]));
    }

    #[test]
    fn what_a_trial_has_already_is_not_replaced_and_halves_are_not_taken() {
        let place = tempfile::tempdir().unwrap();
        let [parent, child] = ["00000", "00001"].map(|name| place.path().join(name));
        write(&parent.join("checkpoint/a"), "ten");
        keep(&parent, &parent.join("checkpoint"), 10, Sharing::Links).unwrap();
        write(&child.join("unfinished-checkpoint/b"), "half");
        assert!(adopt(&parent, 10, &child.join("checkpoint"), Sharing::Links).unwrap());
        assert!(!child.join("checkpoint/b").exists() && !child.join("unfinished-checkpoint").exists());
        write(&child.join("checkpoint/a"), "own");
        assert!(adopt(&parent, 10, &child.join("checkpoint"), Sharing::Copies).unwrap());
        assert_eq!(fs::read_to_string(child.join("checkpoint/a")).unwrap(), "own");
    }
}
