//! Small files of the kernel's that are opened once, and read again and again from the
//! start.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

/// What `file` says now, as far as it fits into `buffer`.
pub(super) fn text<'a>(file: &File, buffer: &'a mut [u8]) -> Option<&'a str> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], len as u64) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    std::str::from_utf8(&buffer[..len]).ok()
}
