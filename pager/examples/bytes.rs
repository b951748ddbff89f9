//! Bytes of every kind through a pager: columns of plain elements, a buffer that is written
//! to, bytes that are shared, and bytes that do not exist until there is room for them.
//!
//!     cargo run -p pager-out-of-core --example bytes

use std::io::Write;
use std::sync::Arc;

use pager::{ChunkBuf, Error, Pager, Shared};

fn main() -> anyhow::Result<()> {
    let pager = Pager::builder().budget_bytes(8 << 20).build()?;

    // A column of any plain type; lengths and offsets count its elements.
    let prices: Vec<f32> = (0..60_000u16).map(f32::from).collect();
    let column = pager.pageout(&mut [prices])?;
    let mut part = Vec::new();
    pager.read_at(&column, 500, 3, &mut part)?;
    assert_eq!(part, [500.0, 501.0, 502.0]);

    // A buffer that frames are written into, paged out without a copy.
    let mut frames = ChunkBuf::<u8>::new();
    for frame in 0..1000 {
        writeln!(frames, "frame {frame}")?;
    }
    let len = frames.len();
    let text = pager.pageout(&mut [frames])?;
    assert_eq!(text.len(), len);

    // Bytes that others hold as well: kept until they are written, and never copied before.
    let page: Arc<[u8]> = vec![7; 300_001].into();
    let shared = pager.pageout(&mut [Shared::new(Arc::clone(&page))])?;
    pager.write_back()?;
    assert_eq!(Arc::strong_count(&page), 1);

    // Room first, then the bytes. Who must not wait is refused instead, before the bytes are
    // made, and tries again later.
    let encode = |count: usize| {
        pager
            .options()
            .without_waiting()
            .pageout_with(count, |window| {
                let row = [1, 2, 3, 4];
                while window.remaining_bytes() > 0 {
                    let len = row.len().min(window.remaining_bytes());
                    window.copy_from(&row[..len]);
                }
                Ok(())
            })
    };
    let made = encode(1 << 20)?;
    assert!(matches!(encode(1 << 30), Err(Error::NoRoom { .. })));

    let mut bytes = Vec::new();
    for handle in [text, shared, made] {
        pager.take(handle, &mut bytes)?;
        println!("{} bytes came back", bytes.len());
    }
    Ok(())
}
