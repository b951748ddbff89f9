//! Reads what the system says about a root, down to the devices beneath it, and
//! decides nothing. What cannot be read is `None`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pager_core::diagnose::text::{Mount, mount_of};

use super::trial::{self, Trial};
use crate::sys;

/// How deep devices may lie on one another before something is wrong.
const LAYERS_AT_MOST: usize = 16;

/// What the system says.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The root, absolute.
    pub(super) root: PathBuf,
    pub(super) presence: Presence,
    /// The file system that the root, or its parent, is on.
    pub(super) mount: Option<Mount>,
    /// That of an overlay's upper layer, where it can be seen.
    pub(super) upper: Option<Mount>,
    /// The devices beneath, outermost first.
    pub(super) layers: Vec<Layer>,
    pub(super) space: Option<Space>,
    pub(super) trial: Trial,
}

/// Whether there is a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    There,
    /// Its last component alone is missing, which a backend would make.
    ToBeMade,
    Missing,
}

/// A block device, or what a loop device stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layer {
    /// The kernel's name, `zram0`.
    pub(super) name: String,
    /// `queue/rotational`.
    pub(super) rotational: Option<String>,
    /// The file system of a loop device's backing file.
    pub(super) backing_kind: Option<String>,
}

/// What `statvfs` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) size_bytes: u64,
    pub(super) free_bytes: u64,
    /// Zero where the file system does not count them.
    pub(super) inodes: u64,
    pub(super) free_inodes: u64,
    pub(super) read_only: bool,
}

/// Reads everything, and tries the root if it is there.
pub(super) fn probe(root: &Path) -> Facts {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let presence = presence(&root);
    let seen = match presence {
        Presence::There => root.clone(),
        _ => root.parent().map_or_else(|| root.clone(), Path::to_owned),
    };
    // Mounts are listed by their real paths.
    let real = fs::canonicalize(&seen).unwrap_or(seen);
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount_of(&mounts, &real);
    let upper = mount.as_ref().and_then(upper_directory);
    let upper = upper.and_then(|directory| mount_of(&mounts, &fs::canonicalize(directory).ok()?));
    let mut layers = Vec::new();
    let source = upper.as_ref().or(mount.as_ref());
    if let Some(device) = device_of(&real, source.map(|mount| mount.source.as_str())) {
        descend(&device, &mounts, &mut layers);
    }
    Facts {
        presence,
        mount,
        upper,
        layers,
        space: space(&real),
        trial: match presence {
            Presence::There => trial::run(&root),
            _ => Trial::NotRun,
        },
        root,
    }
}

fn presence(root: &Path) -> Presence {
    if fs::symlink_metadata(root).is_ok() {
        Presence::There
    } else if root.parent().is_some_and(Path::is_dir) {
        Presence::ToBeMade
    } else {
        Presence::Missing
    }
}

/// Where an overlay writes; the path may be one of outside a container.
fn upper_directory(mount: &Mount) -> Option<PathBuf> {
    let options = mount.options.split(',');
    let upper = options
        .filter_map(|option| option.strip_prefix("upperdir="))
        .next();
    upper.map(PathBuf::from)
}

/// The directory under `/sys` of the device that holds `path`, or that is mounted.
#[allow(
    clippy::useless_conversion,
    reason = "the type of the number differs between platforms"
)]
fn device_of(path: &Path, source: Option<&str>) -> Option<PathBuf> {
    let by_number = |number: u64| {
        // As wide as the platform's numbers of devices; where that is less, there is no
        // such directory.
        let number = number.try_into().ok()?;
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()
    };
    let of_path = fs::metadata(path)
        .ok()
        .and_then(|found| by_number(found.dev()));
    // File systems of several devices, and overlays, have a number of their own.
    of_path.or_else(|| by_number(fs::metadata(source?).ok()?.rdev()))
}

/// Notes a device and all that it stands on.
fn descend(device: &Path, mounts: &str, layers: &mut Vec<Layer>) {
    if layers.len() >= LAYERS_AT_MOST {
        return;
    }
    let whole = match device.parent() {
        Some(disk) if device.join("partition").exists() => disk,
        _ => device,
    };
    let backing = read(whole.join("loop/backing_file"));
    let backing = backing.as_deref().map(|path| Path::new(path.trim_end()));
    let below = backing.and_then(|path| mount_of(mounts, path));
    let name = whole.file_name().unwrap_or_default();
    layers.push(Layer {
        name: name.to_string_lossy().into_owned(),
        rotational: read(whole.join("queue/rotational")),
        backing_kind: below.as_ref().map(|mount| mount.kind.clone()),
    });
    for slave in fs::read_dir(whole.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(slave) = fs::canonicalize(slave.path()) {
            descend(&slave, mounts, layers);
        }
    }
    if let Some(below) = below
        && let Some(next) = device_of(&below.mount_point, Some(&below.source))
        && next != device
    {
        descend(&next, mounts, layers);
    }
}

fn space(path: &Path) -> Option<Space> {
    let found = sys::statvfs(path).ok()?;
    Some(Space {
        size_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        inodes: found.f_files,
        free_inodes: found.f_favail,
        read_only: found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_of_an_overlay_is_among_its_options() {
        let mount = |options: &str| Mount {
            mount_point: "/".into(),
            kind: "overlay".into(),
            source: "overlay".into(),
            options: options.into(),
        };
        let upper = upper_directory(&mount("rw,lowerdir=/l,upperdir=/u/x,workdir=/w"));
        assert_eq!(upper, Some("/u/x".into()));
        assert_eq!(upper_directory(&mount("rw")), None);
    }

    #[test]
    fn a_root_that_is_missing_is_told_from_one_that_can_be_made() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(presence(dir.path()), Presence::There);
        assert_eq!(presence(&dir.path().join("a")), Presence::ToBeMade);
        assert_eq!(presence(&dir.path().join("a/b")), Presence::Missing);
    }
}
