//! The engine's own way: chunks appended to temporary files, which are changed each gibibyte,
//! so that room is given back; with lz4 or without, as its example has it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

use differential_dataflow::columnar::trace::spill::{BytesSource, BytesStore};

const FILE_BYTES: u64 = 1 << 30;

pub(crate) struct Files {
    scratch: PathBuf,
    is_compressed: bool,
    current: Option<(Rc<File>, u64)>,
}

impl Files {
    pub(crate) fn new(scratch: PathBuf, is_compressed: bool) -> Self {
        Self {
            scratch,
            is_compressed,
            current: None,
        }
    }
}

impl BytesStore for Files {
    fn store(&mut self, bytes: &[u8]) -> Box<dyn BytesSource> {
        let compressed = self.is_compressed.then(|| lz4_flex::block::compress(bytes));
        let stored = compressed.as_deref().unwrap_or(bytes);
        let (file, offset) = match self.current.take() {
            Some((file, end)) if end < FILE_BYTES => (file, end),
            _ => {
                let file = tempfile::tempfile_in(&self.scratch).expect("a temporary file");
                (Rc::new(file), 0)
            }
        };
        file.write_all_at(stored, offset).expect("room in it");
        self.current = Some((Rc::clone(&file), offset + stored.len() as u64));
        Box::new(Part {
            file,
            offset,
            stored_len: stored.len(),
            len: bytes.len(),
            is_compressed: self.is_compressed,
        })
    }
}

struct Part {
    file: Rc<File>,
    offset: u64,
    stored_len: usize,
    len: usize,
    is_compressed: bool,
}

impl BytesSource for Part {
    fn load(&self) -> Vec<u8> {
        let mut stored = vec![0; self.stored_len];
        let read = self.file.read_exact_at(&mut stored, self.offset);
        read.expect("what was written");
        if !self.is_compressed {
            return stored;
        }
        lz4_flex::block::decompress(&stored, self.len).expect("what was compressed")
    }
}
