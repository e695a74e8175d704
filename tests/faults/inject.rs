//! Disks that fail, are slow, or are full: system calls of a running node are tampered with by strace, and a node's
//! directory lies on a file system of its own that is filled up.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What becomes of each sync of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// It fails.
    Error,
    /// It takes so much longer.
    Delay(Duration),
}

/// Tampers with a process for as long as it lives.
pub struct Injection(Child);

impl Injection {
    /// Whether this machine can.
    pub fn possible() -> bool {
        let probe = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
        probe.is_ok_and(|output| output.status.success())
    }

    pub fn start(pid: u32, tampering: Tampering) -> std::io::Result<Self> {
        let what = match tampering {
            Tampering::Error => "error=EIO".to_owned(),
            Tampering::Delay(delay) => format!("delay_exit={}", delay.as_micros()),
        };
        let mut command = Command::new("strace");
        command.args(["-qq", "-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]);
        command.args(["-e", &format!("inject=fdatasync,fsync:{what}"), "-p", &pid.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let injection = Self(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !traced(pid) {
            if Instant::now() > deadline {
                return Err(std::io::Error::other("strace does not attach"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(injection)
    }
}

/// Whether every thread of a process is traced by now, or it has ended.
fn traced(pid: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    tasks.flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let says = |field: &str, value: &str| {
            status.lines().any(|line| line.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with(value)))
        };
        // A process that ended of the first error, before anybody looked, waits for its parent.
        !says("TracerPid:", "0") || says("State:", "Z") || says("State:", "X")
    })
}

impl Drop for Injection {
    fn drop(&mut self) {
        // SIGTERM: strace lets go of the process first.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).output();
        let _ = self.0.wait();
    }
}

/// A file system in memory at a directory, unmounted when it is dropped.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    pub const MEBIBYTES: u64 = 640;

    /// `None` where this process may not mount.
    pub fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).ok()?;
        let size = format!("size={}m", Self::MEBIBYTES);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "lockstep-faults"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self { path: path.into() })
    }

    /// Takes all the space that is left, until [`Ballast`] is dropped.
    pub fn fill(&self) -> std::io::Result<Ballast> {
        let path = self.path.join("ballast");
        let file = std::fs::File::create(&path)?;
        let mut taken = 0;
        // In ever smaller pieces, as others write meanwhile.
        for piece in [16 << 20, 1 << 20, 64 << 10, 4 << 10] {
            while rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), taken, piece).is_ok() {
                taken += piece;
            }
        }
        Ok(Ballast(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

pub struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
