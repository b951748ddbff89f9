//! The engine's own spilling: its threshold and prefetch policies, and a strategy that puts
//! what one call is given into one temporary file, as the strategies in its examples do.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use timely::bytes::arc::{Bytes, BytesMut};
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::spill::{
    BytesFetch, BytesSpill, PrefetchPolicy, SpillPolicy, Threshold,
};

const BUFFER_BYTES: usize = 4 << 20;

pub(crate) fn hooks(scratch: PathBuf, threshold_bytes: usize, reserve_bytes: usize) -> Hooks {
    Hooks {
        spill: Some(Arc::new(move || {
            let mut writer = Threshold::new(Box::new(Files(scratch.clone())));
            writer.threshold_bytes = threshold_bytes;
            writer.head_reserve_bytes = reserve_bytes;
            let reader = PrefetchPolicy::new(reserve_bytes);
            let pair: (Box<dyn SpillPolicy>, Box<dyn SpillPolicy>) =
                (Box::new(writer), Box::new(reader));
            pair
        })),
        ..Hooks::default()
    }
}

struct Files(PathBuf);

impl BytesSpill for Files {
    fn spill(&mut self, chunks: &mut Vec<Bytes>, handles: &mut Vec<Box<dyn BytesFetch>>) {
        match self.write(chunks) {
            Ok(file) => {
                let lens = chunks.drain(..).map(|chunk| chunk.len());
                let content = Content {
                    lens: lens.collect(),
                    file: Some(file),
                    chunks: Vec::new(),
                };
                let count = content.lens.len();
                let content = Arc::new(Mutex::new(content));
                handles.extend((0..count).map(|index| {
                    let content = Arc::clone(&content);
                    Box::new(Chunk { content, index }) as Box<dyn BytesFetch>
                }));
            }
            Err(error) => pager_tool::warn(format_args!("the engine's spilling: {error}")),
        }
    }
}

impl Files {
    fn write(&self, chunks: &[Bytes]) -> std::io::Result<File> {
        let file = tempfile::tempfile_in(&self.0)?;
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        for chunk in chunks {
            file.write_all(chunk)?;
        }
        Ok(file.into_inner()?)
    }
}

/// One file, until it is read; then what was in it.
struct Content {
    lens: Vec<usize>,
    file: Option<File>,
    chunks: Vec<Bytes>,
}

impl Content {
    fn read(&mut self) -> std::io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.rewind()?;
        let mut file = BufReader::with_capacity(0, file);
        self.chunks.clear();
        for &len in &self.lens {
            let mut bytes = vec![0; len];
            file.read_exact(&mut bytes)?;
            self.chunks.push(BytesMut::from(bytes).freeze());
        }
        self.file = None;
        Ok(())
    }
}

struct Chunk {
    content: Arc<Mutex<Content>>,
    index: usize,
}

impl BytesFetch for Chunk {
    fn fetch(self: Box<Self>) -> Result<Vec<Bytes>, Box<dyn BytesFetch>> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = content.read() {
            pager_tool::warn(format_args!("the engine's spilling: {error}"));
            drop(content);
            return Err(self);
        }
        let chunk = content.chunks[self.index].clone();
        Ok(vec![chunk])
    }
}
