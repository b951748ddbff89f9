//! What the engine expects of a spill file, and what it gets here: whole messages, to many
//! readers, within limits, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use datafusion_common::DataFusionError;
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion_execution::spill_file::{SpillFile, SpillWriter};
use pager::{Group, Pager};
use pager_datafusion::Adapter;

use support::{batch, drain, pager, run, schema, text_of};

struct Place {
    adapter: Adapter,
    runtime: RuntimeEnv,
    _scratch: tempfile::TempDir,
}

fn place_of(budget_bytes: usize, change: impl FnOnce(Adapter) -> Adapter) -> Place {
    let (pager, scratch) = pager(budget_bytes);
    let adapter = change(Adapter::new(pager));
    let builder = RuntimeEnvBuilder::new().with_max_temp_directory_size(64 << 20);
    let runtime = adapter.install(builder).unwrap().build().unwrap();
    Place {
        adapter,
        runtime,
        _scratch: scratch,
    }
}

fn place(budget_bytes: usize) -> Place {
    place_of(budget_bytes, |adapter| adapter)
}

impl Place {
    fn file(&self) -> Arc<dyn SpillFile> {
        self.runtime.disk_manager.create_tmp_file("a test").unwrap()
    }

    fn pager(&self) -> &Pager {
        self.adapter.pager()
    }

    fn check_empty(&self) {
        let progress = self.adapter.spilling_progress();
        assert_eq!(
            (progress.current_bytes, progress.active_files_count),
            (0, 0)
        );
        support::check_empty(self.pager());
    }
}

/// Arrow's writer on one of the engine's: what the engine does.
struct Ipc(StreamWriter<Box<dyn SpillWriter>>);

impl Ipc {
    fn on(file: &Arc<dyn SpillFile>) -> Self {
        let writer = file.open_writer().unwrap();
        Self(StreamWriter::try_new(writer, &schema()).unwrap())
    }

    fn write(&mut self, batch: &RecordBatch) {
        self.0.write(batch).unwrap();
    }

    fn finish(mut self) {
        self.0.finish().unwrap();
        self.0.into_inner().unwrap().finish().unwrap();
    }
}

fn decode(messages: Vec<bytes::Bytes>) -> Vec<RecordBatch> {
    let mut decoder = StreamDecoder::new().with_require_alignment(true);
    let mut batches = Vec::new();
    for message in messages {
        let mut buffer = Buffer::from(message);
        while !buffer.is_empty() {
            batches.extend(decoder.decode(&mut buffer).unwrap());
        }
    }
    batches
}

const BUDGETS: [usize; 3] = [0, 1 << 20, 64 << 20];

#[test]
fn batches_come_back_in_messages_that_are_whole_and_not_copied() {
    for budget_bytes in BUDGETS {
        let place = place(budget_bytes);
        let file = place.file();
        let batches: Vec<_> = (0..20).map(|seed| batch(seed, 20_000)).collect();
        let mut writer = Ipc::on(&file);
        batches.iter().for_each(|batch| writer.write(batch));
        writer.finish();

        let messages = run(drain(file.read_stream().unwrap())).unwrap();
        // The schema, the batches, and the end.
        assert_eq!(messages.len(), 1 + batches.len() + 1);
        let bytes: usize = messages.iter().map(bytes::Bytes::len).sum();
        assert_eq!(file.size(), Some(bytes as u64));
        let places: Vec<_> = messages.iter().map(|it| it.as_ptr_range()).collect();
        let decoded = decode(messages);
        assert_eq!(decoded, batches);
        for (decoded, place) in decoded.iter().zip(&places[1..]) {
            for column in decoded.columns() {
                for buffer in column.to_data().buffers() {
                    assert!(place.contains(&buffer.as_ptr()), "a column was copied");
                }
            }
        }
        drop((decoded, file));
        place.check_empty();
    }
}

#[test]
fn what_is_read_holds_its_own_memory_and_no_more() {
    let place = place(64 << 20);
    let file = place.file();
    let mut writer = Ipc::on(&file);
    for seed in 0..100 {
        writer.write(&batch(seed, 1000));
    }
    writer.finish();
    let mut messages = run(drain(file.read_stream().unwrap())).unwrap();
    let kept = messages.swap_remove(50);
    assert!(kept.len() < 64 << 10);
    drop((messages, file));
    // It is the message's own.
    place.check_empty();
    drop(kept);
}

#[test]
fn readers_read_while_it_is_written_each_on_its_own() {
    for budget_bytes in BUDGETS {
        let place = place(budget_bytes);
        let file = place.file();
        let mut writer = Ipc::on(&file);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let file = Arc::clone(&file);
                std::thread::spawn(move || run(drain(file.read_stream().unwrap())).unwrap())
            })
            .collect();
        let batches: Vec<_> = (0..30).map(|seed| batch(seed, 5000)).collect();
        batches.iter().for_each(|batch| writer.write(batch));
        writer.finish();
        for reader in readers {
            assert_eq!(decode(reader.join().unwrap()), batches);
        }
        drop(file);
        place.check_empty();
    }
}

#[test]
fn a_reader_sees_a_message_as_soon_as_it_is_written() {
    use futures::StreamExt;

    let place = place(1 << 20);
    let file = place.file();
    let mut writer = Ipc::on(&file);
    let mut stream = file.read_stream().unwrap();
    let schema = run(stream.next()).unwrap().unwrap();
    writer.write(&batch(1, 10));
    let message = run(stream.next()).unwrap().unwrap();
    assert_eq!(decode(vec![schema, message]), [batch(1, 10)]);
    let waker = futures::task::noop_waker();
    let mut context = std::task::Context::from_waker(&waker);
    assert!(stream.poll_next_unpin(&mut context).is_pending());
    drop(writer);
    assert!(
        run(stream.next()).is_none(),
        "a writer that is dropped ends"
    );
    drop((stream, file));
    place.check_empty();
}

#[test]
fn a_writer_that_is_dropped_in_mid_message_has_failed() {
    let place = place(1 << 20);
    let file = place.file();
    let mut bytes = Vec::new();
    let mut whole = StreamWriter::try_new(&mut bytes, &schema()).unwrap();
    whole.write(&batch(1, 1000)).unwrap();
    let whole_bytes = whole.get_ref().len();
    whole.write(&batch(2, 1000)).unwrap();
    drop(whole);
    // In the mark, in the description, and in the body.
    for half_bytes in [3, 100, 5000] {
        let file = place.file();
        let mut writer = file.open_writer().unwrap();
        writer
            .write_all(&bytes[..whole_bytes + half_bytes])
            .unwrap();
        let stream = file.read_stream().unwrap();
        drop(writer);
        let (messages, error) = run(support::drain_until_error(stream));
        assert_eq!(decode(messages), [batch(1, 1000)]);
        let error = error.expect("the reader is told");
        assert!(text_of(&error).contains("mid-message"), "{error:?}");
    }
    drop(file);
    place.check_empty();
}

#[test]
fn a_writer_that_finishes_in_mid_message_leaves_that_to_arrow() {
    let place = place(1 << 20);
    let file = place.file();
    let mut writer = file.open_writer().unwrap();
    writer.write_all(&[0xff, 0xff, 0xff, 0xff, 80]).unwrap();
    writer.finish().unwrap();
    writer.finish().unwrap();
    let refused = writer.write_all(b"more").unwrap_err();
    assert!(refused.to_string().contains("finished"), "{refused}");
    let messages = run(drain(file.read_stream().unwrap())).unwrap();
    assert_eq!(messages.concat(), [0xff, 0xff, 0xff, 0xff, 80]);
}

#[test]
fn a_shared_file_is_read_again_after_a_partial_read() {
    use futures::StreamExt;

    for budget_bytes in BUDGETS {
        let place = place(budget_bytes);
        let file = place.file();
        let batches: Vec<_> = (0..10).map(|seed| batch(seed, 20_000)).collect();
        let mut writer = Ipc::on(&file);
        batches.iter().for_each(|batch| writer.write(batch));
        writer.finish();
        let other = Arc::clone(&file);
        for _ in 0..2 {
            let mut stream = file.read_stream().unwrap();
            for _ in 0..4 {
                run(stream.next()).unwrap().unwrap();
            }
        }
        let all = run(drain(other.read_stream().unwrap())).unwrap();
        assert_eq!(decode(all), batches);
        drop((file, other));
        place.check_empty();
    }
}

#[test]
fn what_its_only_owner_reads_is_freed_as_it_is_read() {
    use futures::StreamExt;

    for budget_bytes in BUDGETS {
        let place = place(budget_bytes);
        let file = place.file();
        let batches: Vec<_> = (0..20).map(|seed| batch(seed, 50_000)).collect();
        let mut writer = Ipc::on(&file);
        batches.iter().for_each(|batch| writer.write(batch));
        writer.finish();
        let whole = place.pager().stats().total.logical_bytes;
        let mut stream = file.read_stream().unwrap();
        let mut messages = Vec::new();
        for _ in 0..15 {
            messages.push(run(stream.next()).unwrap().unwrap());
        }
        let left = place.pager().stats().total.logical_bytes;
        assert!(left < whole / 2, "{left} of {whole} bytes are left");
        let used = place.adapter.spilling_progress().current_bytes;
        assert!(used < file.size().unwrap() / 2, "{used} bytes are counted");
        let refused = file.read_stream().err().expect("it is gone");
        assert!(text_of(&refused).contains("only owner"), "{refused:?}");
        messages.extend(run(drain(stream)).unwrap());
        assert_eq!(decode(messages), batches);
        assert_eq!(place.pager().stats().total.live_handles, 0);
        drop(file);
        place.check_empty();
    }
}

#[test]
fn what_was_never_written_to_the_device_is_not_when_it_is_read_once() {
    let place = place(64 << 20);
    let file = place.file();
    let mut writer = Ipc::on(&file);
    (0..10).for_each(|seed| writer.write(&batch(seed, 50_000)));
    writer.finish();
    run(drain(file.read_stream().unwrap())).unwrap();
    let stats = place.pager().stats();
    assert_eq!(stats.residency.written_bytes, 0, "{stats:?}");
}

#[test]
fn a_file_may_be_kept_until_it_is_dropped() {
    let place = place_of(1 << 20, |adapter| adapter.keep_until_dropped(true));
    let file = place.file();
    let mut writer = Ipc::on(&file);
    (0..10).for_each(|seed| writer.write(&batch(seed, 20_000)));
    writer.finish();
    for _ in 0..3 {
        let messages = run(drain(file.read_stream().unwrap())).unwrap();
        assert_eq!(decode(messages).len(), 10);
    }
    drop(file);
    place.check_empty();
}

#[test]
fn there_is_no_more_than_max_temp_directory_size() {
    let place = place(1 << 20);
    let manager = &place.runtime.disk_manager;
    manager.set_max_temp_directory_size(1 << 20).unwrap();
    let (file, other) = (place.file(), place.file());
    let mut writer = Ipc::on(&file);
    writer.write(&batch(1, 20_000));
    let mut second = Ipc::on(&other);
    let refused = (0..10).find_map(|seed| second.0.write(&batch(seed, 20_000)).err());
    let refused = DataFusionError::from(refused.expect("it is more than there may be"));
    let root = refused.find_root();
    assert!(
        matches!(root, DataFusionError::ResourcesExhausted(_)),
        "{root:?}"
    );
    assert!(text_of(&refused).contains("max_temp_directory_size"));
    assert!(place.adapter.spilling_progress().current_bytes <= 1 << 20);
    assert_eq!(place.adapter.spilling_progress().active_files_count, 2);
    writer.finish();
    drop((second, other));
    // What that held can be had again, and a limit that is raised holds at once.
    manager.set_max_temp_directory_size(4 << 20).unwrap();
    let third = place.file();
    let mut writer = Ipc::on(&third);
    (0..3).for_each(|seed| writer.write(&batch(seed, 20_000)));
    writer.finish();
    drop((file, third));
    place.check_empty();
}

#[test]
fn a_query_has_its_quota_and_its_label() {
    let place = place(1 << 20);
    let group = Group::new("query 7").quota_bytes(3 << 20);
    let builder = RuntimeEnvBuilder::from_runtime_env(&place.runtime);
    let runtime = place.adapter.for_query(group.clone()).install(builder);
    let runtime = runtime.unwrap().build().unwrap();
    let limit_bytes = runtime.disk_manager.max_temp_directory_size();
    assert_eq!(limit_bytes, 64 << 20, "the limit stands");
    let file = runtime.disk_manager.create_tmp_file("a test").unwrap();
    let mut writer = Ipc::on(&file);
    let refused = (0..20).find_map(|seed| writer.0.write(&batch(seed, 20_000)).err());
    let refused = DataFusionError::from(refused.expect("it is more than the quota"));
    let root = refused.find_root();
    assert!(
        matches!(root, DataFusionError::ResourcesExhausted(_)),
        "{root:?}"
    );
    assert!(text_of(&refused).contains("query 7"), "{refused:?}");
    assert!(group.stats().logical_bytes > 0);
    // Another is not concerned.
    let other = place.file();
    let mut others = Ipc::on(&other);
    (0..20).for_each(|seed| others.write(&batch(seed, 20_000)));
    others.finish();
    drop((writer, file, other));
    assert_eq!(group.stats().logical_bytes, 0);
    place.check_empty();
}

#[test]
fn bytes_that_are_no_messages_come_back_as_well() {
    for budget_bytes in BUDGETS {
        let place = place(budget_bytes);
        let file = place.file();
        let bytes: Vec<u8> = (0..700_000_u32).map(|at| (at % 251) as u8).collect();
        let mut writer = file.open_writer().unwrap();
        for piece in bytes.chunks(1000) {
            writer.write_all(piece).unwrap();
        }
        let reader = Arc::clone(&file);
        let stream = reader.read_stream().unwrap();
        // The last piece is small, and goes out with the flush.
        writer.flush().unwrap();
        drop(writer);
        assert_eq!(run(drain(stream)).unwrap().concat(), bytes);
        drop((file, reader));
        place.check_empty();
    }
}

#[test]
fn a_file_that_is_opened_again_for_writing_goes_on() {
    let place = place(1 << 20);
    let file = place.file();
    assert!(run(drain(file.read_stream().unwrap())).unwrap().is_empty());
    let shared = Arc::clone(&file);
    let mut writer = file.open_writer().unwrap();
    let refused = file.open_writer().err().expect("one at a time");
    assert!(text_of(&refused).contains("already"), "{refused:?}");
    writer.write_all(b"one, ").unwrap();
    writer.finish().unwrap();
    drop(writer);
    let early = shared.read_stream().unwrap();
    let mut writer = file.open_writer().unwrap();
    writer.write_all(b"two").unwrap();
    drop(writer);
    assert_eq!(run(drain(early)).unwrap().concat(), b"one, two");
    drop(shared);
    // Its only owner now; what is read of the first part goes with it.
    assert_eq!(
        run(drain(file.read_stream().unwrap())).unwrap().concat(),
        b"one, two"
    );
    assert!(file.open_writer().is_err(), "nobody would read it");
    drop(file);
    place.check_empty();
}

#[test]
fn what_was_refused_can_be_written_again() {
    let place = place(1 << 20);
    let manager = &place.runtime.disk_manager;
    let file = place.file();
    let mut bytes = Vec::new();
    let mut whole = StreamWriter::try_new(&mut bytes, &schema()).unwrap();
    (0..3).for_each(|seed| whole.write(&batch(seed, 2000)).unwrap());
    whole.finish().unwrap();
    drop(whole);
    for piece in [1, 7, 64, 1000, bytes.len()] {
        manager.set_max_temp_directory_size(64 << 20).unwrap();
        let file = place.file();
        let mut writer = file.open_writer().unwrap();
        for piece in bytes.chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                manager.set_max_temp_directory_size(0).unwrap();
                if let Ok(taken) = writer.write(rest) {
                    rest = &rest[taken..];
                    continue;
                }
                manager.set_max_temp_directory_size(64 << 20).unwrap();
                let taken = writer.write(rest).unwrap();
                rest = &rest[taken..];
            }
        }
        writer.finish().unwrap();
        let messages = run(drain(file.read_stream().unwrap())).unwrap();
        assert_eq!(messages.len(), 5, "a schema, three batches, the end");
        assert_eq!(messages.concat(), bytes);
    }
    drop(file);
    place.check_empty();
}

#[test]
fn a_writer_whose_file_is_gone_writes_for_nobody() {
    let place = place(1 << 20);
    let file = place.file();
    let mut writer = Ipc::on(&file);
    writer.write(&batch(1, 1000));
    drop(file);
    (0..10).for_each(|seed| writer.write(&batch(seed, 50_000)));
    assert_eq!(place.pager().stats().total.live_handles, 0);
    writer.finish();
    place.check_empty();
}
