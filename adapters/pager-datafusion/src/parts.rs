//! [`Parts`]: what was written to a file, as one stream for each time that it was opened for
//! writing, one behind the other.
//!
//! A part is kept as long as a reader may be opened at its beginning. Once a file is
//! [given up](Parts::give_up), what has been read of it goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion_common::{DataFusionError, Result};
use pager::{Spill, SpillReader, SpillWriter};

use crate::error;

/// The parts of one file.
#[derive(Debug)]
pub(crate) struct Parts {
    told: Told,
    state: Mutex<State>,
}

/// What the engine said that the file is for, for errors.
#[derive(Debug, Clone)]
pub(crate) struct Told(Arc<str>);

#[derive(Debug, Default)]
struct State {
    /// The right to read each, unless it was given up.
    parts: Vec<Option<Spill>>,
    is_being_written: bool,
    /// Streams that are open.
    readers: usize,
    /// Its only stream is the last.
    is_given_up: bool,
}

impl Told {
    /// What is being done to the file.
    pub(crate) fn doing(&self, what: &str) -> String {
        format!("{what} a spill file of {:?}", self.0)
    }
}

impl Parts {
    pub(crate) fn new(description: &str) -> Self {
        Self {
            told: Told(description.into()),
            state: Mutex::default(),
        }
    }

    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// Opens another part.
    ///
    /// # Errors
    ///
    /// Another one is being written, or nobody will read it; those of `open`.
    pub(crate) fn open_writer(
        &self,
        open: impl FnOnce() -> pager::Result<(SpillWriter, Spill)>,
    ) -> Result<SpillWriter> {
        let doing = || self.told.doing("opening");
        let mut state = self.state();
        if state.is_being_written {
            let why = "it is being written already";
            return Err(DataFusionError::Execution(format!("{}: {why}", doing())));
        }
        if state.is_given_up {
            return Err(self.is_gone());
        }
        let (writer, spill) = open().map_err(|error| error::of_pager(error, &doing()))?;
        state.parts.push(Some(spill));
        state.is_being_written = true;
        Ok(writer)
    }

    /// The part that was being written has ended.
    pub(crate) fn ended(&self) {
        self.state().is_being_written = false;
    }

    /// A stream more: a reader of the first part, if there is one yet.
    ///
    /// # Errors
    ///
    /// The file was given up.
    pub(crate) fn open_reader(&self) -> Result<Option<SpillReader>> {
        let mut state = self.state();
        if state.is_given_up {
            return Err(self.is_gone());
        }
        let reader = self.reader_of(state.parts.first_mut(), false)?;
        state.readers += 1;
        Ok(reader)
    }

    /// A reader of this part, which takes it from its file if that was given up.
    ///
    /// # Errors
    ///
    /// Those of the pager.
    pub(crate) fn reader(&self, part: usize) -> Result<Option<SpillReader>> {
        let mut state = self.state();
        let is_given_up = state.is_given_up;
        self.reader_of(state.parts.get_mut(part), is_given_up)
    }

    fn reader_of(
        &self,
        part: Option<&mut Option<Spill>>,
        is_last: bool,
    ) -> Result<Option<SpillReader>> {
        let reader = match part {
            Some(part) if is_last => part.take().map(Spill::into_reader),
            Some(part) => part.as_ref().map(Spill::reader),
            None => None,
        };
        let reader = reader.transpose();
        reader.map_err(|error| error::of_pager(error, &self.told.doing("reading")))
    }

    /// No other stream will be opened, if there is one only: what that has read up to its
    /// present part can go. `false` if there are others.
    pub(crate) fn give_up(&self, part: usize) -> bool {
        let mut state = self.state();
        if state.readers > 1 {
            return false;
        }
        state.is_given_up = true;
        let read = state.parts.iter_mut().take(part + 1);
        let freed: Vec<_> = read.filter_map(Option::take).collect();
        drop(state);
        drop(freed);
        true
    }

    /// A stream less.
    pub(crate) fn close_reader(&self) {
        let mut state = self.state();
        state.readers -= 1;
        let unread = state.is_given_up.then(|| std::mem::take(&mut state.parts));
        drop(state);
        drop(unread);
    }

    fn is_gone(&self) -> DataFusionError {
        let doing = self.told.doing("opening");
        let why = "it was read once by its only owner, and what was read is gone: \
                   see `Adapter::keep_until_dropped`";
        DataFusionError::Execution(format!("{doing}: {why}"))
    }

    /// It stays whole whoever panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
