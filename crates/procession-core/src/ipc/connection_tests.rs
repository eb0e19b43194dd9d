//! Connections end to end: sizes, cut-off messages, closed and broken ends, several users of one end.

use super::connection::{Access, Connection, ReceiveIntoError, pipe};
use super::direction::DirectionState;
use crate::ErrorKind;
use crate::shm::Object;
use crate::shm::wait::Wait;
use procession_sys::stream::{self, StreamKind};
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::time::Duration;

fn forever() -> Wait<'static> {
    Wait::forever()
}

fn shortly() -> Wait<'static> {
    Wait::for_duration(Some(Duration::from_millis(20)))
}

/// Aborts should the test hang.
fn watchdog() -> impl Drop {
    struct Guard(Option<std::sync::mpsc::Sender<()>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.take();
        }
    }

    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if receiver.recv_timeout(Duration::from_secs(90))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            std::process::abort();
        }
    });
    Guard(Some(sender))
}

/// A connection, and the raw other end of its stream.
fn with_raw_peer() -> (Connection, std::os::fd::OwnedFd) {
    let (left, right) = procession_sys::socket::pair().unwrap();
    (Connection::new(left, Access::Both).unwrap(), right)
}

fn write(raw: impl AsFd, bytes: &[u8]) {
    assert_eq!(
        stream::write_now(StreamKind::Socket, raw.as_fd(), &[IoSlice::new(bytes)]),
        Ok(bytes.len())
    );
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[test]
fn messages_of_every_size_arrive_whole() {
    let _watchdog = watchdog();
    const SIZES: [usize; 9] = [
        0,
        1,
        3,
        4096,
        16_380,
        16_384,
        16_385,
        1 << 20,
        (5 << 20) + 1,
    ];

    for duplex in [true, false] {
        let (receiver, sender) = pipe(duplex).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for size in SIZES {
                    sender
                        .send_bytes(&[&pattern(size)], &mut forever())
                        .unwrap();
                    sender
                        .send_bytes(&[&pattern(size)], &mut forever())
                        .unwrap();
                }
            });
            for size in SIZES {
                assert_eq!(
                    receiver.recv_bytes(None, &mut forever()).unwrap(),
                    pattern(size)
                );
                let mut buffer = vec![0; size + 7];
                assert_eq!(
                    receiver
                        .recv_bytes_into(&mut buffer, &mut forever())
                        .unwrap(),
                    size
                );
                assert_eq!(buffer[..size], pattern(size));
            }
        });
    }
}

#[test]
fn parts_are_gathered() {
    let _watchdog = watchdog();
    let (receiver, sender) = pipe(true).unwrap();

    for count in [0, 1, 7, 8, 3000] {
        let parts: Vec<Vec<u8>> = (0..count).map(|index| pattern(index % 5)).collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        sender.send_bytes(&slices, &mut forever()).unwrap();
        assert_eq!(
            receiver.recv_bytes(None, &mut forever()).unwrap(),
            parts.concat()
        );
    }
}

#[test]
fn the_wire_format_is_exact_and_nothing_is_read_ahead() {
    let (connection, raw) = with_raw_peer();

    connection
        .send_bytes(&[b"ab", b"c"], &mut forever())
        .unwrap();
    let mut wire = [0; 16];
    assert_eq!(
        stream::read_now(StreamKind::Socket, raw.as_fd(), &mut wire),
        Ok(7)
    );
    assert_eq!(wire[..7], *b"\0\0\0\x03abc");

    write(&raw, b"\0\0\0\x01x\xff\xff\xff\xff\0\0\0\0\0\0\0\x02yz!");
    assert_eq!(connection.recv_bytes(None, &mut forever()).unwrap(), b"x");
    assert!(connection.poll(&mut Wait::never()).unwrap());
    assert_eq!(
        connection.recv_bytes(Some(2), &mut forever()).unwrap(),
        b"yz"
    );
    assert_eq!(
        stream::read_now(StreamKind::Socket, connection.as_fd(), &mut wire),
        Ok(1),
        "the byte behind is still there"
    );
    assert!(!connection.poll(&mut Wait::never()).unwrap());
    assert!(!connection.poll(&mut shortly()).unwrap());
}

#[test]
fn ends_and_torn_messages_are_told_apart() {
    for (bytes, kind) in [
        (&b""[..], ErrorKind::EndOfStream),
        (b"\0\0", ErrorKind::Broken),
        (b"\0\0\0\x05abc", ErrorKind::Broken),
        (b"\0\0\0\x05", ErrorKind::Broken),
        (b"\xff\xff\xff\xfe", ErrorKind::Protocol),
    ] {
        let (connection, raw) = with_raw_peer();
        if !bytes.is_empty() {
            write(&raw, bytes);
        }
        drop(raw);
        assert_eq!(
            connection
                .recv_bytes(None, &mut forever())
                .unwrap_err()
                .kind(),
            kind
        );
        let again = connection
            .recv_bytes(None, &mut forever())
            .unwrap_err()
            .kind();
        assert_eq!(
            again,
            if bytes.is_empty() {
                ErrorKind::EndOfStream
            } else {
                ErrorKind::Broken
            }
        );
        assert!(
            connection.poll(&mut Wait::never()).unwrap(),
            "the end is something to receive"
        );
        assert_eq!(
            connection
                .send_bytes(&[b"x"], &mut forever())
                .unwrap_err()
                .kind(),
            ErrorKind::Broken
        );
    }
}

#[test]
fn a_receive_given_up_midway_goes_on_later() {
    let (connection, raw) = with_raw_peer();
    let mut buffer = [0; 8];

    assert_eq!(
        connection
            .recv_bytes(None, &mut Wait::never())
            .unwrap_err()
            .kind(),
        ErrorKind::TimedOut
    );
    for piece in [&b"\0\0"[..], b"\0\x06ab", b"cd"] {
        write(&raw, piece);
        assert_eq!(
            connection
                .recv_bytes(None, &mut Wait::never())
                .unwrap_err()
                .kind(),
            ErrorKind::TimedOut
        );
    }
    write(&raw, b"ef\0\0\0\x04gh");
    assert_eq!(
        connection
            .recv_bytes_into(&mut buffer, &mut forever())
            .unwrap(),
        6
    );
    assert_eq!(buffer[..6], *b"abcdef");

    let given_up = connection
        .recv_bytes_into(&mut buffer, &mut shortly())
        .unwrap_err();
    assert!(matches!(given_up, ReceiveIntoError::Failed(error) if error.is_timeout()));
    write(&raw, b"ij");
    let mut reused = Vec::with_capacity(100);
    connection
        .recv_bytes_reusing(&mut reused, None, &mut forever())
        .unwrap();
    assert_eq!(reused, b"ghij");
}

#[test]
fn a_message_that_does_not_fit_is_kept_or_ends_the_direction() {
    let (receiver, sender) = pipe(false).unwrap();

    sender.send_bytes(&[b"abcdef"], &mut forever()).unwrap();
    match receiver.recv_bytes_into(&mut [0; 3], &mut forever()) {
        Err(ReceiveIntoError::BufferTooShort(message)) => assert_eq!(message, b"abcdef"),
        other => panic!("{other:?}"),
    }

    sender.send_bytes(&[b"abcdef"], &mut forever()).unwrap();
    assert_eq!(
        receiver
            .recv_bytes(Some(5), &mut forever())
            .unwrap_err()
            .kind(),
        ErrorKind::TooLarge
    );
    assert_eq!(
        receiver
            .recv_bytes(None, &mut forever())
            .unwrap_err()
            .kind(),
        ErrorKind::Broken
    );
    assert_eq!(
        sender.recv_bytes(None, &mut forever()).unwrap_err().kind(),
        ErrorKind::WrongState
    );
    assert_eq!(
        receiver.send_bytes(&[], &mut forever()).unwrap_err().kind(),
        ErrorKind::WrongState
    );
}

#[test]
fn a_send_given_up_midway_breaks_the_direction() {
    for duplex in [true, false] {
        let (receiver, sender) = pipe(duplex).unwrap();
        let error = sender
            .send_bytes(&[&pattern(4 << 20)], &mut shortly())
            .unwrap_err();
        assert!(error.is_timeout());

        let error = sender.send_bytes(&[b"x"], &mut forever()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken);
        assert!(error.to_string().contains("this process"), "{error}");

        drop(sender);
        assert_eq!(
            receiver
                .recv_bytes(None, &mut forever())
                .unwrap_err()
                .kind(),
            ErrorKind::Broken
        );
    }
}

#[test]
fn a_send_that_never_began_harms_nothing() {
    let (receiver, sender) = pipe(true).unwrap();
    let message = pattern(1000);
    let mut sent = 0;

    // Fills the stream by messages whose last may be cut; so stop before the room runs out.
    while sent < 10 {
        sender.send_bytes(&[&message], &mut Wait::never()).unwrap();
        sent += 1;
    }
    for _ in 0..sent {
        assert_eq!(
            receiver.recv_bytes(None, &mut Wait::never()).unwrap(),
            message
        );
    }
    assert!(
        receiver
            .recv_bytes(None, &mut Wait::never())
            .unwrap_err()
            .is_timeout()
    );
}

#[test]
fn an_interrupt_ends_a_receive() {
    let (receiver, _sender) = pipe(true).unwrap();
    let mut stop = || false;
    let error = receiver
        .recv_bytes(None, &mut Wait::forever().with_interrupt(&mut stop))
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn threads_never_mix_their_messages() {
    let _watchdog = watchdog();
    const THREADS: usize = 3;
    const EACH: usize = 200;
    let (receiver, sender) = pipe(true).unwrap();

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let sender = &sender;
            scope.spawn(move || {
                for _ in 0..EACH {
                    sender
                        .send_bytes(&[&vec![thread as u8; 20_000 + thread]], &mut forever())
                        .unwrap();
                }
            });
        }
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..THREADS * EACH / 2 {
                        let message = receiver.recv_bytes(None, &mut forever()).unwrap();
                        let thread = message[0];
                        assert_eq!(message.len(), 20_000 + usize::from(thread));
                        assert!(message.iter().all(|byte| *byte == thread));
                    }
                })
            })
            .collect();
        for receiver in receivers {
            receiver.join().unwrap();
        }
    });
}

/// Two connections that stand for two processes' copies of one end.
fn two_users() -> (Connection, Connection, std::os::fd::OwnedFd) {
    let (left, right) = procession_sys::socket::pair().unwrap();
    let copy = procession_sys::fd::duplicate(left.as_fd()).unwrap();
    let direction = || Object::<DirectionState>::create(0, |_, _| {}).unwrap();
    let (reading, writing) = (direction(), direction());
    let user = |fd| {
        let (reading, writing) = (Some(reading.clone()), Some(writing.clone()));
        Connection::with_directions(fd, Access::Both, reading, writing).unwrap()
    };

    (user(left), user(copy), right)
}

#[test]
fn users_of_one_end_take_turns() {
    let (one, two, raw) = two_users();

    write(&raw, b"\0\0\0\x02a");
    assert!(
        one.recv_bytes(None, &mut Wait::never())
            .unwrap_err()
            .is_timeout()
    );
    write(&raw, b"b\0\0\0\x01c");
    assert!(
        two.recv_bytes(None, &mut Wait::never())
            .unwrap_err()
            .is_timeout(),
        "the other is in the middle"
    );
    assert_eq!(one.recv_bytes(None, &mut Wait::never()).unwrap(), b"ab");
    assert_eq!(two.recv_bytes(None, &mut Wait::never()).unwrap(), b"c");

    assert!(
        one.send_bytes(&[&pattern(4 << 20)], &mut shortly())
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(
        two.send_bytes(&[b"x"], &mut forever()).unwrap_err().kind(),
        ErrorKind::Broken
    );
}

#[test]
fn an_end_closed_in_the_middle_of_a_message_breaks_the_direction() {
    let (one, two, raw) = two_users();

    write(&raw, b"\0\0\0\x02a");
    assert!(
        one.recv_bytes(None, &mut Wait::never())
            .unwrap_err()
            .is_timeout()
    );
    drop(one);
    let error = two.recv_bytes(None, &mut Wait::never()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    two.send_bytes(&[b"x"], &mut forever()).unwrap();
}
