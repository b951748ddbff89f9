//! Filling a [`ChunkBuf`] from its end, without zeros first: through a [`Window`], and as
//! `io::Write`.

use std::io;

use bytemuck::Pod;

use super::{Adopt, ChunkBuf, ElementLayout, Window};
use crate::{Error, Result};

impl<T: Pod> ChunkBuf<T> {
    /// Appends exactly `additional` elements, which `fill` writes as bytes into the window
    /// that it is given; nothing is zeroed first.
    ///
    /// ```
    /// use pager_core::ChunkBuf;
    ///
    /// let mut column = ChunkBuf::<u16>::new();
    /// column.append_with(2, |window| {
    ///     window.copy_from(&7u16.to_ne_bytes());
    ///     window.copy_from(&8u16.to_ne_bytes());
    ///     Ok(())
    /// })?;
    /// assert_eq!(*column, [7, 8]);
    /// # Ok::<(), pager_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], those of `fill`, and [`Error::Io`] if it left part of the
    /// window unfilled; the buffer is as it was.
    pub fn append_with(
        &mut self,
        additional: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        let bytes = additional.checked_mul(ElementLayout::of::<T>().bytes());
        let len_bytes = bytes.ok_or(Error::OutOfMemory {
            needed_bytes: usize::MAX,
        })?;
        self.append(len_bytes, fill)
    }
}

/// Appends; grows as it needs to. Fails only for want of memory.
impl io::Write for ChunkBuf<u8> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_is_appended() {
        let mut buf = ChunkBuf::<u8>::new();
        buf.write_all(b"7-").unwrap();
        buf.write_all(b"seven").unwrap();
        buf.flush().unwrap();
        assert_eq!(*buf, *b"7-seven");
        buf.append_with(4, |window| {
            window.write_all(b"!!!!").unwrap();
            assert!(window.write_all(b"!").is_err(), "it is full");
            Ok(())
        })
        .unwrap();
        assert_eq!(*buf, *b"7-seven!!!!");
    }

    #[test]
    fn what_is_not_filled_whole_is_not_appended() {
        let mut buf = ChunkBuf::<u32>::copy_of(&crate::Arena::new(0), &[1]).unwrap();
        let half = buf.append_with(2, |window| {
            window.copy_from(&[1; 7]);
            Ok(())
        });
        assert!(matches!(half, Err(Error::Io { .. })));
        let refused = buf.append_with(2, |_| Err(Error::ShutDown));
        assert!(matches!(refused, Err(Error::ShutDown)));
        let error = buf.append_with(usize::MAX, |_| Ok(())).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }));
        assert_eq!(*buf, [1]);
    }
}
