//! What lies under a directory: whether it is memory in the end, and who serves it.
//!
//! A file system is memory if it is tmpfs or ramfs, or lies on a block device that is
//! (zram, brd), or on a device, a file or a directory that does so in turn: partitions,
//! loop devices, device mapper, md, overlays and stacked encryption are looked through,
//! down to [`MAX_DEPTH`] layers. One layer of several in memory is enough, for what is
//! written may end there.
//!
//! Found out from `statfs`, `/sys/dev/block` and `/proc/self/mountinfo`, as far as they
//! show it: what cannot be seen (a layer outside of a container, another machine's
//! memory) is taken for a disk.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod mounts;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::{is_memory, is_served_by_a_stranger};

/// Elsewhere, file systems have no common numbers to tell memory by.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn is_memory(_fd: impl std::os::fd::AsFd) -> rustix::io::Result<bool> {
    Ok(false)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn is_served_by_a_stranger(_fd: impl std::os::fd::AsFd) -> bool {
    false
}

/// Layers that are looked through: more are a loop.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_DEPTH: usize = 8;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::ffi::OsStr;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode, OFlags, major, minor};
    use rustix::io::{Result, retry_on_intr};

    use super::{MAX_DEPTH, mounts};
    use crate::sys;

    // https://man7.org/linux/man-pages/man2/statfs.2.html
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    const FUSE: u32 = 0x6573_5546;

    /// Where block devices are described, by their numbers.
    const BLOCK_DEVICES: &str = "/sys/dev/block";

    /// Whether what is written there stays in this machine's memory.
    ///
    /// # Errors
    ///
    /// What the system said to the first look, unless it refuses such looks for good.
    pub(in super::super) fn is_memory(fd: impl AsFd) -> Result<bool> {
        is_memory_below(&fd, MAX_DEPTH)
    }

    /// Whether a program of another ordinary user serves the file system, and so sees
    /// all that is written to it.
    pub(in super::super) fn is_served_by_a_stranger(fd: impl AsFd) -> bool {
        let Ok(FUSE) = kind_of(&fd) else { return false };
        let own = rustix::process::geteuid().as_raw();
        mounts::of(&fd)
            .and_then(|mount| mount.server())
            .is_some_and(|server| server != 0 && server != own)
    }

    fn kind_of(fd: impl AsFd) -> Result<u32> {
        let found = retry_on_intr(|| sys::fstatfs(&fd))?;
        // The field is a signed word of the platform; the numbers have 32 bits.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::unnecessary_cast,
            reason = "the type of the field differs between platforms"
        )]
        Ok(found.f_type as u32)
    }

    fn is_memory_below(fd: impl AsFd, depth: usize) -> Result<bool> {
        match kind_of(&fd) {
            Ok(TMPFS | RAMFS) => return Ok(true),
            Ok(_) => {}
            // The table of mounts says it as well.
            Err(errno) if sys::is_refusal(errno) => {}
            Err(errno) => return Err(errno),
        }
        if depth == 0 {
            return Ok(false);
        }
        let device = sys::fstat(&fd).map_or(0, |stat| stat.st_dev);
        if major(device) != 0 {
            let numbers = format!("{}:{}", major(device), minor(device));
            let device = Path::new(BLOCK_DEVICES).join(numbers);
            return Ok(is_device_memory(&device, depth - 1));
        }
        // A file system without a device of its own: an overlay, or one over several.
        let Some(mount) = mounts::of(&fd) else {
            return Ok(false);
        };
        Ok(match &*mount.kind {
            "tmpfs" | "ramfs" => true,
            "overlay" => mount.upper_directory().is_some_and(|upper| {
                open(&upper).is_some_and(|upper| {
                    is_same_size(&fd, &upper) && is_memory_below(upper, depth - 1) == Ok(true)
                })
            }),
            _ => is_source_memory(&mount.source, depth - 1),
        })
    }

    /// A path outside of this container may lead to something else here; an overlay has
    /// the size of its upper layer.
    fn is_same_size(overlay: impl AsFd, upper: impl AsFd) -> bool {
        let size = |fd: &dyn Fn() -> Result<rustix::fs::StatFs>| {
            fd().map(|found| (found.f_blocks, found.f_bsize, found.f_files))
        };
        size(&|| sys::fstatfs(&overlay)) == size(&|| sys::fstatfs(&upper))
    }

    /// What a mount names as its source: a device, or a directory that it stacks upon.
    fn is_source_memory(source: &Path, depth: usize) -> bool {
        let Some(opened) = source.is_absolute().then(|| open(source)).flatten() else {
            return false;
        };
        match sys::fstat(&opened) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice => {
                let numbers = format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev));
                is_device_memory(&Path::new(BLOCK_DEVICES).join(numbers), depth)
            }
            Ok(_) => is_memory_below(opened, depth) == Ok(true),
            Err(_) => false,
        }
    }

    /// `device` is the directory that describes it.
    pub(super) fn is_device_memory(device: &Path, depth: usize) -> bool {
        let Ok(target) = sys::readlink(device) else {
            return false;
        };
        let name = target.file_name().map_or(&b""[..], OsStr::as_bytes);
        if is_memory_name(name) {
            return true;
        }
        if depth == 0 {
            return false;
        }
        // A partition has what is below it in the directory above.
        let whole = if sys::read_text(&device.join("partition")).is_ok() {
            device.join("..")
        } else {
            device.to_owned()
        };
        let backing = sys::read_text(&whole.join("loop/backing_file"));
        if backing.is_ok_and(|path| is_file_memory(path.trim_end_matches('\n'), depth - 1)) {
            return true;
        }
        let Ok(below) = open_directory(&whole.join("slaves")).and_then(sys::list) else {
            return false;
        };
        below.filter_map(Result::ok).any(|entry| {
            let name = entry.file_name().to_bytes();
            let slave = whole.join("slaves").join(OsStr::from_bytes(name));
            !matches!(name, b"." | b"..") && is_device_memory(&slave, depth - 1)
        })
    }

    /// `zram0`, `zram0p1`, `ram7`.
    fn is_memory_name(name: &[u8]) -> bool {
        let numbered = |prefix: &[u8]| {
            name.strip_prefix(prefix)
                .and_then(<[u8]>::first)
                .is_some_and(u8::is_ascii_digit)
        };
        numbered(b"zram") || numbered(b"ram")
    }

    /// The file behind a loop device, by the name it has or had.
    fn is_file_memory(path: &str, depth: usize) -> bool {
        let file = match path.strip_suffix(" (deleted)") {
            // It is gone, and most likely lay on the file system of its directory.
            Some(gone) => Path::new(gone).parent().and_then(open),
            None => open(Path::new(path)),
        };
        file.is_some_and(|file| is_memory_below(file, depth) == Ok(true))
    }

    fn open(path: &Path) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        sys::openat(CWD, path, flags, Mode::empty()).ok()
    }

    fn open_directory(path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        sys::openat(CWD, path, flags, Mode::empty())
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::MAX_DEPTH;
    use super::linux::{is_device_memory, is_memory};

    /// Devices as the kernel describes them, under another directory.
    struct Devices(tempfile::TempDir);

    impl Devices {
        fn new() -> Self {
            let devices = tempfile::tempdir_in("/var/tmp").unwrap();
            fs::create_dir(devices.path().join("by-number")).unwrap();
            Self(devices)
        }

        /// Adds a device that lies on others.
        fn add(&self, name: &str, slaves: &[&str]) -> PathBuf {
            let device = self.0.path().join(name);
            fs::create_dir_all(device.join("slaves")).unwrap();
            for slave in slaves {
                let leaf = Path::new(slave).file_name().unwrap();
                let target = self.0.path().join(slave);
                symlink(target, device.join("slaves").join(leaf)).unwrap();
            }
            symlink(&device, self.link(name)).unwrap();
            device
        }

        fn link(&self, name: &str) -> PathBuf {
            self.0.path().join("by-number").join(name.replace('/', "-"))
        }

        fn is_memory(&self, name: &str) -> bool {
            is_device_memory(&self.link(name), MAX_DEPTH)
        }
    }

    #[test]
    fn memory_is_seen_through_mappers_arrays_and_partitions() {
        let devices = Devices::new();
        for (name, slaves) in [
            ("zram3", &[][..]),
            ("ram0", &[]),
            ("sda", &[]),
            ("ramdisk", &[]),
            ("dm-0", &["zram3"]),
            ("dm-1", &["dm-0"]),
            ("dm-2", &["sda"]),
            ("md0", &["sda", "ram0"]),
        ] {
            devices.add(name, slaves);
        }
        let partition = devices.add("md0/md0p1", &[]);
        fs::write(partition.join("partition"), "1\n").unwrap();
        for name in ["zram3", "ram0", "dm-0", "dm-1", "md0", "md0/md0p1"] {
            assert!(devices.is_memory(name), "{name}");
        }
        for name in ["sda", "ramdisk", "dm-2", "none"] {
            assert!(!devices.is_memory(name), "{name}");
        }
    }

    #[test]
    fn devices_that_lie_on_each_other_come_to_an_end() {
        let devices = Devices::new();
        devices.add("dm-0", &["dm-1"]);
        devices.add("dm-1", &["dm-0"]);
        assert!(!devices.is_memory("dm-0"));
    }

    #[test]
    fn a_loop_device_is_what_its_file_lies_on_even_when_that_is_gone() {
        let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
            println!("skipped: no /dev/shm");
            return;
        };
        if is_memory(fs::File::open(memory.path()).unwrap()) != Ok(true) {
            println!("skipped: /dev/shm is no memory");
            return;
        }
        let devices = Devices::new();
        let device = devices.add("loop0", &[]);
        fs::create_dir(device.join("loop")).unwrap();
        let backed_by = |text: String| {
            fs::write(device.join("loop/backing_file"), text).unwrap();
            devices.is_memory("loop0")
        };
        let image = |directory: &Path| directory.join("image").display().to_string();
        fs::write(memory.path().join("image"), "").unwrap();
        assert!(backed_by(image(memory.path()) + "\n"));
        fs::remove_file(memory.path().join("image")).unwrap();
        assert!(backed_by(image(memory.path()) + " (deleted)\n"));
        // On this disk, wherever that is; and outside of what can be seen.
        assert!(!backed_by(image(devices.0.path()) + "\n"));
        assert!(!backed_by("/no/such/place/image\n".to_owned()));
    }
}
