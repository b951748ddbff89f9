//! Arena mode from inside: adoption, what stays, what comes back, and errors.

use pager_core::Destination;

use super::*;

const SLOT_WORDS: usize = 512;

fn mode() -> ArenaMode {
    ArenaMode::new(Arena::new(1 << 20), 2)
}

fn park_vec(mode: &ArenaMode, watch: &Watch, words: Vec<u64>) -> Arc<Parked> {
    let mut chunks = [words];
    mode.park(watch, &mut Payload::new(&mut chunks)).unwrap()
}

fn park_buf(mode: &ArenaMode, watch: &Watch, buf: ChunkBuf) -> Arc<Parked> {
    let mut chunks = [ChunkBuf::new(), buf, ChunkBuf::new()];
    let parked = mode.park(watch, &mut Payload::new(&mut chunks)).unwrap();
    assert!(chunks.iter().all(|chunk| chunk.is_empty()));
    parked
}

fn words_of(bytes: &[u8]) -> &[u64] {
    bytemuck::cast_slice(bytes)
}

fn read(mode: &ArenaMode, watch: &Watch, parked: &Arc<Parked>, range: Range<usize>) -> Vec<u64> {
    let range = range.start * 8..range.end * 8;
    fn append<D: Destination>(
        dst: &mut D,
        len: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) {
        dst.append(len, fill).unwrap();
    }
    let mut words = Vec::new();
    append(&mut words, range.len(), |window| {
        mode.read(watch, parked, &[range], window)
    });
    words
}

#[test]
fn a_single_buffer_is_adopted_and_comes_back_as_the_very_slot() {
    let (mode, watch) = (mode(), Watch::new());
    let mut buf = ChunkBuf::with_capacity(SLOT_WORDS).unwrap();
    buf.resize(SLOT_WORDS, 7).unwrap();
    let address = buf.as_ptr();
    let parked = park_buf(&mode, &watch, buf);
    assert_eq!(watch.counters.adopted_count.get(), 1);
    assert_eq!(watch.counters.copied_bytes.get(), 0);
    let parked = mode.detach(&watch, parked, ChunkKind::Vec).unwrap_err();
    let OwnedChunk::Buf(back) = mode.detach(&watch, parked, ChunkKind::Buf).unwrap() else {
        panic!("a buffer is wanted");
    };
    assert_eq!(back.as_ptr(), address.cast());
    assert_eq!(words_of(&back), [7; SLOT_WORDS]);
    assert_eq!(watch.live_payloads(), 0);
}

#[test]
fn a_buffer_in_too_large_a_slot_is_copied_into_one_that_fits() {
    let (mode, watch) = (mode(), Watch::new());
    let mut buf = ChunkBuf::with_capacity(16 * SLOT_WORDS).unwrap();
    buf.resize(10, 7).unwrap();
    let parked = park_buf(&mode, &watch, buf);
    assert_eq!(watch.counters.adopted_count.get(), 0);
    assert_eq!(parked.bytes.capacity(), SLOT_WORDS * 8);
    assert_eq!(words_of(&parked.bytes), [7; 10]);
    mode.free(&watch, &parked);
}

#[cfg_attr(miri, ignore = "a huge page is many words for an interpreter")]
#[test]
fn a_large_buffer_that_came_back_from_swap_is_copied_if_there_are_huge_pages() {
    let words = HUGE_PAGE_BYTES / size_of::<u64>();
    for (len, has_huge_pages, adopted) in
        [(words, true, 0), (words, false, 1), (SLOT_WORDS, true, 1)]
    {
        let (mode, watch) = (mode(), Watch::new());
        mode.has_huge_pages.set(has_huge_pages).unwrap();
        let mut buf = ChunkBuf::new();
        buf.resize(len, 7).unwrap();
        buf.mark_paged_out();
        let parked = park_buf(&mode, &watch, buf);
        assert_eq!(watch.counters.adopted_count.get(), adopted);
        assert_eq!(words_of(&parked.bytes), vec![7; len]);
        mode.free(&watch, &parked);
    }
}

#[test]
fn several_buffers_are_joined_by_a_copy() {
    let (mode, watch) = (mode(), Watch::new());
    let buf = |word: u64| ChunkBuf::try_from(&[word; 3][..]).unwrap();
    let mut chunks = [buf(1), buf(2)];
    let parked = mode.park(&watch, &mut Payload::new(&mut chunks)).unwrap();
    assert_eq!(words_of(&parked.bytes), [1, 1, 1, 2, 2, 2]);
    assert_eq!(watch.counters.adopted_count.get(), 0);
    mode.free(&watch, &parked);
}

#[test]
fn without_a_page_map_nothing_is_claimed_to_have_stayed_or_left() {
    let (mode, watch) = (mode(), Watch::blind());
    let rounds = if cfg!(miri) { 5 } else { 100 };
    for _ in 0..rounds {
        let parked = park_vec(&mode, &watch, vec![1; SLOT_WORDS]);
        assert_eq!((parked.left_bytes, parked.stayed_bytes), (0, 0));
        mode.free(&watch, &parked);
    }
    assert!(watch.survey().is_none());
    assert!(!mode.is_futile(), "what is unseen teaches nothing");
    assert_eq!(watch.counters.retry_count.get(), 0);
}

#[test]
fn what_stays_is_counted_for_as_long_as_it_lives() {
    let (mode, watch) = (mode(), Watch::new());
    let parked = park_vec(&mode, &watch, vec![1; 4 * SLOT_WORDS]);
    if watch.survey().is_some() {
        let seen = parked.left_bytes + parked.stayed_bytes;
        assert_eq!(seen, parked.len_bytes(), "every byte left or stayed");
    }
    let stayed_bytes = parked.stayed_bytes as u64;
    assert_eq!(watch.counters.unreclaimable_bytes.get(), stayed_bytes);
    mode.free(&watch, &parked);
    assert_eq!(watch.counters.unreclaimable_bytes.get(), 0);
    assert_eq!(watch.counters.stayed_bytes.get(), stayed_bytes);
}

#[test]
fn payloads_are_left_alone_after_long_failure_and_count_as_staying() {
    let (mode, watch) = (mode(), Watch::new());
    (0..100).for_each(|_| mode.patience.learn(false));
    let probe = park_vec(&mode, &watch, vec![1; SLOT_WORDS]);
    (0..100).for_each(|_| mode.patience.learn(false));
    let hints = watch.counters.hint_count.get();
    let parked = park_vec(&mode, &watch, vec![1; SLOT_WORDS]);
    assert_eq!(watch.counters.left_alone_count.get(), 1);
    assert_eq!(watch.counters.hint_count.get(), hints);
    assert_eq!(parked.stayed_bytes, parked.len_bytes());
    mode.free(&watch, &probe);
    mode.free(&watch, &parked);
}

#[test]
fn what_comes_back_is_counted_until_it_is_let_go_and_never_beyond_what_left() {
    let (mode, watch) = (mode(), Watch::new());
    let parked = park_vec(&mode, &watch, vec![3; 4 * SLOT_WORDS]);
    let back_bytes = || watch.counters.back_bytes.get();
    let left_bytes = parked.left_bytes as u64;
    for _ in 0..3 {
        assert_eq!(read(&mode, &watch, &parked, 0..4 * SLOT_WORDS)[7], 3);
        assert_eq!(back_bytes(), left_bytes);
    }
    mode.release(&watch, &parked, 0..4 * SLOT_WORDS, 0..4 * SLOT_WORDS);
    assert_eq!(back_bytes(), 0);
    read(&mode, &watch, &parked, 0..1);
    mode.free(&watch, &parked);
    assert_eq!((back_bytes(), watch.counters.left_bytes.get()), (0, 0));
}

#[test]
fn a_slot_is_cut_at_huge_pages() {
    let buf = ChunkBuf::<u8>::with_capacity(SLOT_WORDS).unwrap();
    let head_bytes = buf.as_ptr().addr() % HUGE_PAGE_BYTES;
    let pieces: Vec<_> = huge_pages(&buf, 3 * HUGE_PAGE_BYTES).collect();
    assert_eq!(pieces[0], 0..HUGE_PAGE_BYTES - head_bytes);
    assert_eq!(pieces[1].len(), HUGE_PAGE_BYTES);
    assert_eq!(pieces.last().unwrap().end, 3 * HUGE_PAGE_BYTES);
    assert_eq!(huge_pages(&buf, 0).count(), 0);
    assert!(huge_pages(&buf, 5).eq(std::iter::once(0..5)));
}

#[test]
#[cfg_attr(miri, ignore = "a huge page is many words for an interpreter")]
fn what_is_let_go_is_let_go_by_huge_pages() {
    let buf = ChunkBuf::copy_of(&Arena::shared(), &vec![1; 2 * HUGE_PAGE_BYTES + 5]).unwrap();
    let borders: Vec<_> = huge_pages(&buf, buf.len()).collect();
    for page in &borders {
        assert_eq!(whole_huge_pages(&buf, page.start..page.start + 1), *page);
        assert_eq!(whole_huge_pages(&buf, page.clone()), *page);
    }
    let across = borders[0].end - 1..borders[1].start + 1;
    assert_eq!(
        whole_huge_pages(&buf, across),
        borders[0].start..borders[1].end
    );
}

#[test]
fn an_old_kernel_is_asked_to_populate_only_once() {
    let mode = mode();
    assert!(mode.populates());
    mode.judge(io::ErrorKind::InvalidInput.into(), 8).unwrap();
    assert!(!mode.populates());
    mode.populate(&[1, 2, 3]).unwrap();
}

#[test]
fn a_sandbox_that_refuses_to_populate_is_done_without() {
    // `EPERM`, `EACCES`, `ENOSYS` and `EOPNOTSUPP`.
    for number in [1, 13, 38, 95] {
        let mode = mode();
        let refusal = io::Error::from_raw_os_error(number);
        mode.judge(refusal, 8).unwrap();
        assert!(!mode.populates(), "error {number}");
    }
}

#[test]
fn a_swap_device_that_fails_is_a_typed_error() {
    let mode = mode();
    // `EFAULT` has no kind of its own.
    let failed = mode.judge(io::Error::from_raw_os_error(14), 8).unwrap_err();
    assert!(
        matches!(failed, Error::Io { backend: NAME, .. }),
        "{failed}"
    );
    let failed = mode
        .judge(io::ErrorKind::OutOfMemory.into(), 8)
        .unwrap_err();
    assert!(matches!(failed, Error::OutOfMemory { needed_bytes: 8 }));
    mode.judge(io::ErrorKind::Interrupted.into(), 8).unwrap();
    assert!(mode.populates());
}

#[test]
fn a_payload_that_is_being_paged_out_again_is_not_detached() {
    let (mode, watch) = (mode(), Watch::blind());
    let parked = park_vec(&mode, &watch, vec![1; 8]);
    let evictor = Arc::clone(&parked);
    let parked = mode.detach(&watch, parked, ChunkKind::Buf).unwrap_err();
    drop(evictor);
    assert!(mode.detach(&watch, parked, ChunkKind::Buf).is_ok());
}
