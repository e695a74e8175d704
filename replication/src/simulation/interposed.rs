//! Time, randomness and idleness as the C library gives them to the standard library, Tokio and every other crate,
//! replaced for the thread that runs a simulation. All other threads get the real ones.
//!
//! So the code under test is the production code to the last crate: `Instant::now()`, a map's random state, Tokio's
//! timers and an election's random time-out are all simulated without knowing it.
//!
//! Invariants:
//! 1. Nothing here allocates, panics or calls back before it has found that its thread simulates.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::runtime::Runtime;

thread_local! {
    /// Nanoseconds on the monotonic clock and on the wall clock; 0: this thread does not simulate.
    static MONOTONIC: Cell<u64> = const { Cell::new(0) };
    static WALL: Cell<u64> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    /// What the runtime wants to wait for: milliseconds; negative: for ever.
    static WAIT: Cell<i64> = const { Cell::new(0) };
    static IDLE: Cell<bool> = const { Cell::new(false) };
    static TURNS: Cell<u64> = const { Cell::new(0) };
    static MAIN: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// More turns of a runtime's loop than this at one moment are an endless loop.
const TURNS_MAX: u64 = 2_000_000;

/// Sets what the clocks of this thread show, in nanoseconds.
pub fn set_clocks(monotonic: u64, wall: u64) {
    MONOTONIC.set(monotonic);
    WALL.set(wall);
}

/// Seeds what the operating system answers when it is asked for randomness.
pub fn seed(seed: u64) {
    RANDOM.set(seed | 1);
}

/// The real time since some fixed moment, for measuring a simulation itself.
pub fn real_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to a place that is one.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Time that this thread has had of a processor.
pub fn processor_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to a place that is one.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Runs a runtime and, as its main future, `main` until nothing can be done before time passes. Answers how long the
/// runtime's clock has to go on until it has something to do; `None`: until something happens from outside.
pub fn run_until_idle(
    runtime: &Runtime,
    main: &mut Pin<Box<dyn Future<Output = ()>>>,
    ended: &mut bool,
) -> Option<Duration> {
    IDLE.set(false);
    TURNS.set(0);
    runtime.block_on(std::future::poll_fn(|cx| {
        if IDLE.get() {
            return Poll::Ready(());
        }
        if !*ended {
            *ended = main.as_mut().poll(cx).is_ready();
        }
        MAIN.with_borrow_mut(|waker| *waker = Some(cx.waker().clone()));
        Poll::Pending
    }));
    MAIN.with_borrow_mut(|waker| *waker = None);
    u64::try_from(WAIT.get()).ok().map(Duration::from_millis)
}

/// The C library's `clock_gettime`.
///
/// # Safety
/// As of the function of that name: `into` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, into: *mut libc::timespec) -> libc::c_int {
    let monotonic = MONOTONIC.try_with(Cell::get).unwrap_or(0);
    if monotonic == 0 {
        // SAFETY: handed on to the kernel as it came.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, into) as libc::c_int };
    }
    let wall = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE);
    let now = if wall { WALL.get() } else { monotonic };
    // SAFETY: the caller gives a place for one timespec.
    unsafe {
        (*into).tv_sec = (now / 1_000_000_000) as libc::time_t;
        (*into).tv_nsec = (now % 1_000_000_000) as libc::c_long;
    }
    0
}

/// The C library's `getrandom`.
///
/// # Safety
/// As of the function of that name: `into` is valid for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(into: *mut libc::c_void, length: usize, flags: libc::c_uint) -> isize {
    let mut state = RANDOM.try_with(Cell::get).unwrap_or(0);
    if state == 0 {
        // SAFETY: handed on to the kernel as it came.
        return unsafe { libc::syscall(libc::SYS_getrandom, into, length, flags) as isize };
    }
    for i in 0..length {
        // SplitMix64, a byte at a time.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // SAFETY: `i` is below the length that the caller gives.
        unsafe { into.cast::<u8>().add(i).write((mixed >> 56) as u8) };
    }
    RANDOM.set(if state == 0 { 1 } else { state });
    length as isize
}

/// The C library's `epoll_wait`, with which a runtime sleeps. In a simulation there is nothing to wait for here: the
/// runtime's main future ends instead.
///
/// # Safety
/// As of the function of that name: `events` is valid for `max` events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(
    epoll: libc::c_int,
    events: *mut libc::epoll_event,
    max: libc::c_int,
    timeout: libc::c_int,
) -> libc::c_int {
    if MONOTONIC.try_with(Cell::get).unwrap_or(0) == 0 {
        // SAFETY: handed on to the kernel as it came.
        return unsafe {
            libc::syscall(libc::SYS_epoll_pwait, epoll, events, max, timeout, std::ptr::null::<libc::sigset_t>(), 8)
        } as libc::c_int;
    }
    TURNS.set(TURNS.get() + 1);
    if timeout != 0 || TURNS.get() > TURNS_MAX {
        super::note_idle(TURNS.get() > TURNS_MAX);
        WAIT.set(i64::from(timeout));
        IDLE.set(true);
        MAIN.with_borrow(|waker| waker.as_ref().inspect(|waker| waker.wake_by_ref()).is_some());
    }
    0
}
