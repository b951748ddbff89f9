//! [`NullBackend`]: does nothing, to see what everything around it does.

use std::ops::Range;

use pager_core::{Backend, Payload, Result, Usage, Window};

/// Forgets what it is given and reads zeros. Does not conform, of course.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullBackend;

/// Copied into windows, a page at a time.
static ZEROS: [u8; 4096] = [0; 4096];

impl Backend for NullBackend {
    type Slot = ();

    fn name(&self) -> &'static str {
        "null"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<()> {
        payload.clear();
        Ok(())
    }

    fn read(&self, _: &(), _: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
        while !window.is_full() {
            let len = window.remaining_bytes().min(ZEROS.len());
            window.copy_from(&ZEROS[..len]);
        }
        Ok(())
    }

    fn free(&self, (): ()) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
