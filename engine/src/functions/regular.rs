//! Compiled regular expressions: by automaton, whose time is linear in the text, and by backtracking, for expressions that refer back
//! or look around.
//!
//! Invariant: backtracking ends after a bounded number of steps, with an error.

use fancy_regex::RuntimeError;
use regex::Regex;

use crate::error::{Error, Result, SqlState};

/// Steps back that one search may take.
const STEPS_MAX: usize = 2_000_000;

pub(super) enum Compiled {
    Automaton(Regex),
    Backtracking(fancy_regex::Regex),
}

/// What an expression is compiled with.
pub(super) struct Settings {
    pub insensitive: bool,
    pub dot_matches_newline: bool,
    pub anchors_at_newlines: bool,
    pub extended: bool,
    /// The longest match is wanted among those that begin first.
    pub longest: bool,
}

/// A match: the text, and where in it the whole and each group lie.
pub(super) struct Found<'t> {
    text: &'t str,
    places: Vec<Option<(usize, usize)>>,
}

impl<'t> Found<'t> {
    /// The whole and the groups.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn place(&self, group: usize) -> Option<(usize, usize)> {
        self.places.get(group).copied().flatten()
    }

    pub fn part(&self, group: usize) -> Option<&'t str> {
        self.place(group).and_then(|(start, end)| self.text.get(start..end))
    }

    pub fn start(&self) -> usize {
        self.place(0).map_or(0, |place| place.0)
    }

    pub fn end(&self) -> usize {
        self.place(0).map_or(0, |place| place.1)
    }
}

impl Compiled {
    pub fn backtracking(pattern: &str, settings: &Settings) -> std::result::Result<Compiled, String> {
        let built = fancy_regex::RegexBuilder::new(pattern)
            .case_insensitive(settings.insensitive)
            .dot_matches_new_line(settings.dot_matches_newline)
            .multi_line(settings.anchors_at_newlines)
            .ignore_whitespace(settings.extended)
            .leftmost_longest(settings.longest)
            .backtrack_limit(STEPS_MAX)
            .build();
        built.map(Compiled::Backtracking).map_err(|e| e.to_string())
    }

    pub fn is_match(&self, text: &str) -> Result<bool> {
        match self {
            Compiled::Automaton(regex) => Ok(regex.is_match(text)),
            Compiled::Backtracking(regex) => regex.is_match(text).map_err(failed),
        }
    }

    pub fn first<'t>(&self, text: &'t str) -> Result<Option<Found<'t>>> {
        self.all(text, 0).next().transpose()
    }

    /// Matches one after another from a byte on; what lies before it counts for anchors. An empty match may begin where the one
    /// before ended, unless that was empty too.
    pub fn all<'r, 't: 'r>(&'r self, text: &'t str, from: usize) -> impl Iterator<Item = Result<Found<'t>>> + 'r {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let found = self.at(text, next?).transpose()?;
            next = found.as_ref().ok().and_then(|found| match (found.start(), found.end()) {
                (start, end) if start < end => Some(end),
                (_, end) => text.get(end..)?.chars().next().map(|c| end + c.len_utf8()),
            });
            Some(found)
        })
    }

    /// The first match from a byte on.
    fn at<'t>(&self, text: &'t str, from: usize) -> Result<Option<Found<'t>>> {
        let places = match self {
            Compiled::Automaton(regex) => regex
                .captures_at(text, from)
                .map(|captures| captures.iter().map(|m| m.map(|m| (m.start(), m.end()))).collect()),
            Compiled::Backtracking(regex) => regex
                .captures_from_pos(text, from)
                .map_err(failed)?
                .map(|captures| captures.iter().map(|m| m.map(|m| (m.start(), m.end()))).collect()),
        };
        Ok(places.map(|places| Found { text, places }))
    }
}

fn failed(error: fancy_regex::Error) -> Error {
    let reason = match error {
        fancy_regex::Error::RuntimeError(RuntimeError::BacktrackLimitExceeded | RuntimeError::StackOverflow) => {
            "regular expression is too complex".to_owned()
        }
        other => other.to_string(),
    };
    Error::new(SqlState::InvalidRegularExpression, format!("regular expression failed: {reason}"))
}
