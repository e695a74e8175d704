//! A simulation in a process of its own, so that it begins with nothing of another one: counters of crates, caches, an
//! allocator's state. It may also abort, or hang, and only it ends.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Duration;

use super::interposed::real_time;

/// What the thread of a simulation may need: an unoptimised build is generous with its stack.
const STACK_BYTES: usize = 64 << 20;

/// Runs `act` in a child process and answers its bytes; an error says how the child ended instead.
///
/// The calling process should have one thread that does anything.
pub fn in_child(limit: Duration, act: impl FnOnce() -> Vec<u8> + Send + 'static) -> Result<Vec<u8>, String> {
    let mut ends = [0; 2];
    // SAFETY: two descriptors are written to a place for two.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(std::io::Error::last_os_error().to_string());
    }
    // SAFETY: both descriptors are open and owned by nobody else.
    let (mut reader, mut writer) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
    // SAFETY: the child uses nothing that another thread of the parent may hold; it ends without returning from here.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error().to_string()),
        0 => {
            drop(reader);
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(act);
            let written =
                thread.ok().and_then(|thread| thread.join().ok()).map(|bytes| writer.write_all(&bytes).is_ok());
            // SAFETY: ends the process at once, with nothing of the parent's run a second time.
            unsafe { libc::_exit(if written == Some(true) { 0 } else { 3 }) }
        }
        child => {
            drop(writer);
            let answer = read(&mut reader, child, limit);
            if answer.is_err() {
                // SAFETY: the child is ours and has not been waited for.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            let mut status = 0;
            // SAFETY: as above; its status is written to a place for it.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            let answer = answer?;
            match status {
                0 => Ok(answer),
                _ => Err(format!("the process of the simulation ended with status {status:#x}")),
            }
        }
    }
}

/// Until the child has answered, has used `limit` of the processor, or is still there after ten times as long.
fn read(reader: &mut File, child: libc::pid_t, limit: Duration) -> Result<Vec<u8>, String> {
    let until = real_time() + limit * 10;
    let mut bytes = Vec::new();
    let mut part = [0; 64 << 10];
    loop {
        let mut poll = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, as said.
        if unsafe { libc::poll(&raw mut poll, 1, 1000) } == 0 {
            if processor_time_of(child) > limit || real_time() > until {
                return Err("the simulation took too long".to_owned());
            }
            continue;
        }
        match reader.read(&mut part).map_err(|error| error.to_string())? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&part[..length]),
        }
    }
}

/// What a process has used of the processor so far.
fn processor_time_of(process: libc::pid_t) -> Duration {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both are written to places for them; the second is asked for only if there is such a clock.
    let known = unsafe {
        libc::clock_getcpuclockid(process, &raw mut clock) == 0 && libc::clock_gettime(clock, &raw mut time) == 0
    };
    if known { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) } else { Duration::ZERO }
}
