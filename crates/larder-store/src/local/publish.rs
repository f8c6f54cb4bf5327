//! Bytes appear at their place: one rename, under the lock of the place, if the condition holds.

use std::os::fd::OwnedFd;

use rustix::{fs::RenameFlags, io::Errno};

use super::{Shared, durable::Unsettled, refuse_private, stat};
use crate::{
    error::{Error, Result},
    place::Place,
    store::{Condition, Stat},
};

/// How often somebody may remove the folder, as an empty one, between its making and the rename.
const ATTEMPTS: usize = 32;

const FILE_AS_FOLDER: &str = "a file lies where a folder is needed";
const FOLDER_AS_FILE: &str = "it is a folder with files";
const TOO_LONG: &str = "it is longer than the file system can hold";

/// Renames the file at the path `source` to `place`, making the folders it needs. Not durable yet.
pub(super) fn publish(shared: &Shared, source: &str, place: &Place, condition: &Condition) -> Result<()> {
    let (source_folder, source_name) = source.rsplit_once('/').unwrap_or(("", source));
    let source_folder = shared.root.folder(source_folder).map_err(|error| shared.failed(place, error))?;
    let _lock = shared.locks.lock(&[place]).map_err(|error| shared.failed_io(place, &error))?;
    move_into(shared, &source_folder, source_name, place, condition)
}

/// Moves the file at `from` to `to`. Gives what is to be made durable: the arrival, then the leave.
pub(super) fn rename(
    shared: &Shared,
    from: &Place,
    to: &Place,
    condition: &Condition,
) -> Result<(Stat, Unsettled, Unsettled)> {
    refuse_private(from)?;
    let absent = || Error::NotFound { place: from.clone() };
    let folder =
        shared.root.folder(stat::parent(from)).map_err(|error| shared.failed_to_find(from, error))?;
    let _lock = shared.locks.lock(&[from, to]).map_err(|error| shared.failed_io(from, &error))?;
    let found = stat::find(&folder, from.name()).map_err(|error| shared.failed_to_find(from, error))?;
    let moved = stat::stat(&found.ok_or_else(absent)?);
    if from == to {
        check(shared, &folder, to, condition)?;
    } else {
        move_into(shared, &folder, from.name(), to, condition)?;
    }
    let arrived = shared.unsettled(to)?;
    // In one folder, the sync that makes the arrival durable covers the leave.
    let left = match stat::parent(from) == stat::parent(to) {
        true => Unsettled::default(),
        false => shared.unsettled(from)?,
    };
    Ok((moved, arrived, left))
}

fn move_into(
    shared: &Shared,
    source_folder: &OwnedFd,
    source_name: &str,
    place: &Place,
    condition: &Condition,
) -> Result<()> {
    let mut hollow_removed = false;
    for _ in 0..ATTEMPTS {
        let folder = match shared.root.make_folders(stat::parent(place)) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(blocked_or(shared, place, error)),
        };
        check(shared, &folder, place, condition)?;
        match rename_once(source_folder, source_name, &folder, place.name(), condition) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => match stat::find(source_folder, source_name) {
                // It was the target's folder that went.
                Ok(Some(_)) => {}
                _ => return Err(shared.failed(place, Errno::NOENT)),
            },
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
                let is_file = matches!(stat::find(&folder, place.name()), Ok(Some(_)));
                if is_file && *condition == Condition::IfAbsent {
                    return Err(Error::Precondition { place: place.clone() });
                }
                if !is_file && hollow_removed {
                    return Err(blocked(place, FOLDER_AS_FILE));
                }
                hollow_removed = !is_file;
                if hollow_removed && !shared.root.remove_hollow(&folder, place.name()) {
                    return Err(blocked(place, FOLDER_AS_FILE));
                }
            }
            Err(error) => return Err(blocked_or(shared, place, error)),
        }
    }
    Err(shared.failed(place, Errno::AGAIN))
}

/// Fails with `EEXIST` if the condition asks for nothing to be there. Another program that puts a
/// file there at this moment does not hold our lock, so the kernel has to say it.
fn rename_once(
    from: &OwnedFd,
    from_name: &str,
    to: &OwnedFd,
    to_name: &str,
    condition: &Condition,
) -> Result<(), Errno> {
    if *condition == Condition::IfAbsent {
        match rustix::fs::renameat_with(from, from_name, to, to_name, RenameFlags::NOREPLACE) {
            // The file system can't; the check under the lock has to do.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            renamed => return renamed,
        }
    }
    rustix::fs::renameat(from, from_name, to, to_name)
}

fn check(shared: &Shared, folder: &OwnedFd, place: &Place, condition: &Condition) -> Result<()> {
    if *condition == Condition::None {
        return Ok(());
    }
    let present = stat::find(folder, place.name()).map_err(|error| blocked_or(shared, place, error))?;
    let holds = match condition {
        Condition::None => true,
        Condition::IfAbsent => present.is_none(),
        Condition::IfMatch(wanted) => present.is_some_and(|found| stat::fingerprint(&found) == *wanted),
    };
    if holds { Ok(()) } else { Err(Error::Precondition { place: place.clone() }) }
}

fn blocked(place: &Place, reason: &'static str) -> Error {
    Error::Blocked { place: place.clone(), reason }
}

fn blocked_or(shared: &Shared, place: &Place, error: Errno) -> Error {
    match error {
        Errno::NOTDIR => blocked(place, FILE_AS_FOLDER),
        Errno::ISDIR => blocked(place, FOLDER_AS_FILE),
        Errno::NAMETOOLONG => blocked(place, TOO_LONG),
        _ => shared.failed(place, error),
    }
}
