//! Inputs for a fuzzed function without a fuzzer: seeds, what the fuzzers kept in `fuzz/corpus`, and changes of both, from a number.
//! Part of the tests of the crates.
//!
//! `LOCKSTEP_SEED` repeats a run, `LOCKSTEP_FUZZ_SECONDS` makes it longer. With `LOCKSTEP_FUZZ_SEEDS` the seeds are only written, below
//! the directory that it names: fuzzers begin with them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A fuzzer of `fuzz/fuzz_targets`. If it feeds several functions, the first byte of its inputs, by the number of functions, says
/// which; here without that byte.
pub struct Target {
    pub name: &'static str,
    /// Which function of how many.
    pub function: Option<(u8, u8)>,
}

impl Target {
    /// What the fuzzer kept for this function.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(self.name);
        let Ok(entries) = std::fs::read_dir(&directory) else { panic!("no corpus {}", directory.display()) };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths.iter().filter_map(|path| self.own(std::fs::read(path).ok()?)).collect()
    }

    fn own(&self, mut input: Vec<u8>) -> Option<Vec<u8>> {
        let Some((which, of)) = self.function else { return Some(input) };
        if input.first()? % of != which {
            return None;
        }
        input.remove(0);
        Some(input)
    }

    fn write(&self, seeds: &[Vec<u8>], directory: &Path) -> std::io::Result<()> {
        let directory = directory.join(self.name);
        std::fs::create_dir_all(&directory)?;
        let which = self.function.map(|(which, _)| which);
        for (number, seed) in seeds.iter().enumerate() {
            let name = format!("seed-{}-{number}", which.unwrap_or(0));
            std::fs::write(directory.join(name), which.into_iter().chain(seed.iter().copied()).collect::<Vec<u8>>())?;
        }
        Ok(())
    }

    /// Feeds `run` for some seconds; a panic is reported with the input and the number that makes it again.
    pub fn feed(&self, seeds: &[Vec<u8>], mut run: impl FnMut(&[u8])) {
        if let Some(directory) = std::env::var_os("LOCKSTEP_FUZZ_SEEDS") {
            return self.write(seeds, Path::new(&directory)).unwrap_or_else(|error| panic!("seeds: {error}"));
        }
        let mut seeds = seeds.to_vec();
        let kept = self.corpus();
        for input in &kept {
            if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
                panic!("an input of the corpus fails: {input:?}");
            }
        }
        seeds.extend(kept);
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = number("LOCKSTEP_SEED").unwrap_or_else(|| rand::random::<u32>().into());
        println!("LOCKSTEP_SEED={seed}");
        let until = Instant::now() + Duration::from_secs(number("LOCKSTEP_FUZZ_SECONDS").unwrap_or(3));
        let mut count = 0;
        while Instant::now() < until {
            // An input depends on its number, the seeds and the corpus alone.
            let mut random = StdRng::seed_from_u64(seed.wrapping_add(count));
            let input = draw(&seeds, &mut random);
            if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
                panic!("LOCKSTEP_SEED={} fails at once, with {input:?}", seed.wrapping_add(count));
            }
            count += 1;
        }
        println!("{count} inputs");
    }
}

fn draw(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let pick = |random: &mut StdRng| seeds.get(random.random_range(0..seeds.len().max(1))).cloned().unwrap_or_default();
    let mut input = match random.random_range(0..20) {
        0 => (0..random.random_range(0..200)).map(|_| random.random()).collect(),
        _ => pick(random),
    };
    for _ in 0..random.random_range(0..8) {
        let length = input.len();
        let at = random.random_range(0..=length);
        let end = (at + random.random_range(0..16)).min(length);
        match random.random_range(0..8) {
            0 => drop(input.drain(at..end)),
            1 => {
                let some: Vec<u8> = (0..random.random_range(1..8)).map(|_| random.random()).collect();
                drop(input.splice(at..at, some));
            }
            2 => {
                let again = input.get(at..end).unwrap_or_default().to_vec();
                drop(input.splice(at..at, again));
            }
            3 => {
                let other = pick(random);
                let from = random.random_range(0..=other.len());
                let to = (from + random.random_range(0..64)).min(other.len());
                drop(input.splice(at..end, other.get(from..to).unwrap_or_default().to_vec()));
            }
            // Lengths and counts that lie.
            4 => {
                let odd =
                    [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0, 0, 0, 0], [0xff, 0xff, 0xff, 0x7f], [0x80, 0, 0, 0]];
                let value = odd[random.random_range(0..odd.len())];
                input.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = value);
            }
            5 => input.truncate(at),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    input
}
