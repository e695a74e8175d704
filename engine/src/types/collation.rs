//! Collations: how a language orders strings. What orders by bytes ("C", "POSIX" and the default) is none of this file's.
//!
//! A locale is kept as it was written, in ICU's old form (`de@collation=phonebook`, `@colStrength=secondary`) or in that of
//! BCP 47 (`de-u-co-phonebk`), and read here into a collator, which is kept: there are as many as a cluster's catalogs name.
//!
//! Invariants:
//! 1. Keys compare as bytes as the collation compares the strings that they were made of.
//! 2. A sort key holds no zero byte; neither does a string. So what stands behind the last zero is the string.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use icu_collator::options::{AlternateHandling, CaseLevel, CollatorOptions, MaxVariable, Strength};
use icu_collator::{CollatorBorrowed, CollatorPreferences};
use icu_locale_core::Locale;
use parking_lot::RwLock;

use crate::error::{Error, Result, SqlState};

/// Version of the rules that collations follow, as pg_collation.collversion shows it: that of the data compiled in.
pub const VERSION: &str = "icu4x-2.4";

/// pg_collation's numbers of those that compare bytes.
pub const DEFAULT: u32 = 100;
pub const C: u32 = 950;
pub const POSIX: u32 = 951;
pub const UCS_BASIC: u32 = 12340;
pub const C_UTF8: u32 = 12341;

/// A collation that every cluster has.
#[derive(Debug)]
pub struct Builtin {
    pub oid: u32,
    pub name: &'static str,
    /// `None`: compares bytes.
    pub locale: Option<&'static str>,
    pub comment: &'static str,
}

/// Those of PostgreSQL 15, with its numbers, without [`ABSENT`].
pub static BUILTIN: LazyLock<Vec<Builtin>> = LazyLock::new(|| {
    let bytes = |oid, name, comment| Builtin { oid, name, locale: None, comment };
    let mut all = vec![
        bytes(DEFAULT, "default", "database's default collation"),
        bytes(C, "C", "standard C collation"),
        bytes(POSIX, "POSIX", "standard POSIX collation"),
        bytes(UCS_BASIC, "ucs_basic", ""),
        bytes(C_UTF8, "C.utf8", ""),
    ];
    for line in include_str!("collations.tsv").lines() {
        let mut fields = line.split('\t');
        let (Some(oid), Some(name), Some(locale)) =
            (fields.next().and_then(|f| f.parse().ok()), fields.next(), fields.next())
        else {
            continue;
        };
        all.push(Builtin { oid, name, locale: Some(locale), comment: fields.next().unwrap_or_default() });
    }
    all
});

static BY_NAME: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| BUILTIN.iter().enumerate().map(|(i, b)| (b.name, i)).collect());

/// The builtin collation of this name; spellings of the same encoding mean the same.
pub fn builtin_named(name: &str) -> Option<&'static Builtin> {
    let name = if name == "C.UTF-8" { "C.utf8" } else { name };
    BY_NAME.get(name).and_then(|i| BUILTIN.get(*i))
}

pub fn builtin(oid: u32) -> Option<&'static Builtin> {
    BUILTIN.binary_search_by_key(&oid, |b| b.oid).ok().and_then(|i| BUILTIN.get(i))
}

/// A locale's rules.
#[derive(Debug)]
pub struct Rules {
    collator: CollatorBorrowed<'static>,
    /// Turkish and Azerbaijani have two letters i.
    dotted: bool,
}

/// Rules that were read.
static KNOWN: LazyLock<RwLock<HashMap<String, Arc<Rules>>>> = LazyLock::new(RwLock::default);

/// The rules of a locale: 22023 if it asks for what there is not, 0A000 for what ICU has and this server has not.
pub fn rules(locale: &str) -> Result<Arc<Rules>> {
    if let Some(known) = KNOWN.read().get(locale) {
        return Ok(known.clone());
    }
    let rules = Arc::new(read(locale)?);
    KNOWN.write().insert(locale.to_owned(), rules.clone());
    Ok(rules)
}

/// Keywords of ICU's old form and what BCP 47 calls them.
const KEYWORDS: [(&str, &str); 9] = [
    ("collation", "co"),
    ("colstrength", "ks"),
    ("colcaselevel", "kc"),
    ("colcasefirst", "kf"),
    ("colalternate", "ka"),
    ("colnumeric", "kn"),
    ("colbackwards", "kb"),
    ("colnormalization", "kk"),
    ("colreorder", "kr"),
];

/// Names of kinds of order, long and short.
const KINDS: [(&str, &str); 4] =
    [("phonebook", "phonebk"), ("traditional", "trad"), ("dictionary", "dict"), ("gb2312han", "gb2312")];

/// Languages, or languages in a script, whose order the compiled data has not.
const ABSENT: [&str; 9] = ["haw", "kl", "lkt", "se", "smn", "yi", "az-cyrl", "hi-latn", "pa-arab"];

/// Languages whose order is the root's, so that French Canada's, which differs in the direction of accents alone, is theirs with
/// accents from the end.
const PLAIN: [&str; 8] = ["und", "en", "fr", "it", "nl", "pt", "id", "ga"];

/// What a locale asks for: the language with its script and region, and keywords in the words of BCP 47.
fn split(locale: &str) -> (String, HashMap<String, String>) {
    let mut keywords = HashMap::new();
    let (base, old) = locale.split_once('@').unwrap_or((locale, ""));
    for pair in old.split(';').filter(|p| !p.trim().is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "yes"));
        let name = name.trim().to_ascii_lowercase();
        let name = KEYWORDS.iter().find(|(old, _)| *old == name).map_or(name.as_str(), |(_, new)| new).to_owned();
        keywords.insert(name, value.trim().to_ascii_lowercase());
    }
    let base = base.split('.').next().unwrap_or_default().replace('_', "-");
    let mut language = Vec::new();
    let mut parts = base.split('-').filter(|p| !p.is_empty()).peekable();
    while let Some(part) = parts.next() {
        match part {
            "u" | "U" => {
                let mut name = String::new();
                while let Some(part) = parts.next_if(|p| p.len() > 1) {
                    if part.len() == 2 {
                        name = part.to_ascii_lowercase();
                        keywords.insert(name.clone(), String::new());
                    } else if let Some(value) = keywords.get_mut(&name) {
                        value.push_str(if value.is_empty() { "" } else { "-" });
                        value.push_str(&part.to_ascii_lowercase());
                    }
                }
            }
            part => language.push(part),
        }
    }
    (language.join("-"), keywords)
}

fn read(locale: &str) -> Result<Rules> {
    let (language, keywords) = split(locale);
    let illegal = || {
        let message = format!("could not open collator for locale \"{locale}\": U_ILLEGAL_ARGUMENT_ERROR");
        Error::new(SqlState::InvalidParameterValue, message)
    };
    let mut options = CollatorOptions::default();
    let (mut extension, mut backwards) = (String::new(), false);
    for (name, value) in &keywords {
        let flag = || match value.as_str() {
            "" | "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(illegal()),
        };
        match name.as_str() {
            "co" => {
                let short = KINDS.iter().find(|(long, _)| long == value).map_or(value.as_str(), |(_, short)| short);
                extension.push_str(&format!("-co-{short}"));
            }
            "ks" => {
                options.strength = Some(match value.as_str() {
                    "primary" | "level1" => Strength::Primary,
                    "secondary" | "level2" => Strength::Secondary,
                    "tertiary" | "level3" => Strength::Tertiary,
                    "quaternary" | "quarternary" | "level4" => Strength::Quaternary,
                    "identical" | "identic" => Strength::Identical,
                    _ => return Err(illegal()),
                });
            }
            "kc" => options.case_level = Some(if flag()? { CaseLevel::On } else { CaseLevel::Off }),
            "ka" => {
                options.alternate_handling = Some(match value.as_str() {
                    "shifted" => AlternateHandling::Shifted,
                    "noignore" | "non-ignorable" => AlternateHandling::NonIgnorable,
                    _ => return Err(illegal()),
                });
            }
            "kv" => {
                options.max_variable = Some(match value.as_str() {
                    "space" => MaxVariable::Space,
                    "punct" => MaxVariable::Punctuation,
                    "symbol" => MaxVariable::Symbol,
                    "currency" => MaxVariable::Currency,
                    _ => return Err(illegal()),
                });
            }
            "kf" => match value.as_str() {
                "upper" | "lower" => extension.push_str(&format!("-kf-{value}")),
                "no" | "false" | "off" => extension.push_str("-kf-false"),
                _ => return Err(illegal()),
            },
            "kn" => extension.push_str(if flag()? { "-kn" } else { "-kn-false" }),
            "kb" => backwards = flag()?,
            // Strings are always taken in their normal form.
            "kk" => {
                flag()?;
            }
            "kr" => return Err(Error::unsupported("a collation that reorders scripts (kr, colReorder)")),
            "va" => return Err(Error::unsupported("a collation of a variant (va)")),
            _ => {}
        }
    }
    let mut language = match language.is_empty() {
        true => "und".to_owned(),
        false => language,
    };
    // As ICU does: what is no locale is the root.
    if Locale::try_from_str(&language).is_err() {
        language = "und".to_owned();
    }
    let lower = language.to_ascii_lowercase();
    let is = |one: &str| lower.strip_prefix(one).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    if ABSENT.into_iter().any(is) {
        return Err(Error::unsupported(format!("the order of the language \"{language}\"")));
    }
    let main = lower.split('-').next().unwrap_or_default().to_owned();
    let dotted = matches!(main.as_str(), "tr" | "az");
    if backwards {
        if !PLAIN.contains(&main.as_str()) || keywords.contains_key("co") {
            return Err(Error::unsupported("accents from the end (kb, colBackwards) for this language"));
        }
        language = "fr-CA".to_owned();
    }
    if !extension.is_empty() {
        language = format!("{language}-u{extension}");
    }
    let parsed = Locale::try_from_str(&language).map_err(|_| illegal())?;
    let collator = CollatorBorrowed::try_new(CollatorPreferences::from(&parsed), options).map_err(|_| illegal())?;
    Ok(Rules { collator, dotted })
}

impl Rules {
    fn write_key(&self, text: &str, out: &mut Vec<u8>) {
        // Writing into memory cannot fail.
        let Ok(()) = self.collator.write_sort_key_to(text, out);
    }

    /// What to compare instead of the string; with `exact` the string itself decides between those that the rules hold equal.
    pub fn key(&self, text: &str, exact: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2 + 8);
        self.write_key(text, &mut out);
        if exact {
            out.push(0);
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// A key that has the string in it (invariant 2): `order` is the string without what does not count.
    pub fn key_with_text(&self, order: &str, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 3 + 8);
        self.write_key(order, &mut out);
        out.push(0);
        out.extend_from_slice(text.as_bytes());
        out
    }

    pub fn lower(&self, text: &str) -> String {
        if !self.dotted {
            return text.to_lowercase();
        }
        text.replace("I\u{307}", "i").replace('\u{130}', "i").replace('I', "\u{131}").to_lowercase()
    }

    pub fn upper(&self, text: &str) -> String {
        match self.dotted {
            true => text.replace('i', "\u{130}").to_uppercase(),
            false => text.to_uppercase(),
        }
    }

    /// The first letter of each word in upper case.
    pub fn initcap(&self, text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::with_capacity(text.len());
        let (mut word, mut pending) = (String::new(), false);
        let mut flush = |word: &mut String| {
            out.push_str(&self.capitalized(word));
            word.clear();
        };
        for (i, c) in chars.iter().enumerate() {
            let joins = matches!(c, '\'' | '\u{2019}' | '.' | ':' | '\u{b7}');
            let between = i > 0
                && chars.get(i - 1).is_some_and(|c| c.is_alphabetic())
                && chars.get(i + 1).is_some_and(|c| c.is_alphabetic());
            let inside = c.is_alphanumeric() || *c == '_' || (joins && between) || is_mark(*c);
            if inside != pending {
                flush(&mut word);
                pending = inside;
            }
            word.push(*c);
        }
        flush(&mut word);
        out
    }

    fn capitalized(&self, word: &str) -> String {
        let cased = |c: char| c.is_lowercase() || c.is_uppercase();
        let Some(at) = word.find(cased) else { return word.to_owned() };
        let first = word.get(at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
        let (before, rest) = word.split_at(at);
        let rest = rest.get(first.len_utf8()..).unwrap_or_default();
        // Of a letter that becomes two, the second one is small: ß is Ss.
        let mut upper = self.upper(&first.to_string());
        if upper.chars().count() > 1 && !is_mark(upper.chars().nth(1).unwrap_or_default()) {
            let (head, tail) = upper.split_at(upper.chars().next().map_or(0, char::len_utf8));
            upper = format!("{head}{}", tail.to_lowercase());
        }
        format!("{before}{upper}{}", self.lower(rest))
    }
}

fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// The string in a key of [`Rules::key_with_text`].
pub fn text_of(key: &[u8]) -> &str {
    let at = key.iter().rposition(|b| *b == 0).map_or(0, |at| at + 1);
    key.get(at..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_languages_do() {
        let order = |locale: &str, words: &[&str]| {
            let rules = rules(locale).unwrap();
            let mut words = words.to_vec();
            words.sort_by_key(|w| rules.key(w, true));
            words.join(" ")
        };
        assert_eq!(order("en", &["bbc", "äbc", "ABC", "abc"]), "abc ABC äbc bbc");
        assert_eq!(order("sv", &["bbc", "äbc", "ABC", "abc"]), "abc ABC bbc äbc");
        assert_eq!(order("de@collation=phonebook", &["Götz", "Goldmann"]), "Götz Goldmann");
        assert_eq!(order("de-u-co-phonebk", &["Götz", "Goldmann"]), "Götz Goldmann");
        assert_eq!(order("@colNumeric=yes", &["A-123", "A-21"]), "A-21 A-123");
        assert_eq!(order("@colBackwards=yes", &["coté", "côte"]), "côte coté");
        assert_eq!(order("@colCaseFirst=upper", &["aaa", "AAA"]), "AAA aaa");
        assert_eq!(order("@colAlternate=shifted", &["de-luge", "deanza"]), "deanza de-luge");
    }

    #[test]
    fn an_order_that_the_data_has_not_is_refused() {
        for locale in ["yi", "az_Cyrl_AZ", "se-NO", "en-US-u-va-posix", "@colReorder=latn-digit"] {
            assert_eq!(rules(locale).unwrap_err().state(), SqlState::FeatureNotSupported, "{locale}");
        }
        assert!(rules("az").is_ok() && rules("sea").is_ok());
    }

    #[test]
    fn strength_decides_what_is_equal() {
        let key = |locale: &str, text: &str| rules(locale).unwrap().key(text, false);
        assert_eq!(key("@colStrength=secondary", "ὀδυσσεύς"), key("@colStrength=secondary", "ὈΔΥΣΣΕΎΣ"));
        assert_ne!(key("", "abc"), key("", "ABC"));
        assert_eq!(key("", "\u{e4}bc"), key("", "a\u{308}bc"));
        let accents = "@colStrength=primary;colCaseLevel=yes";
        assert_eq!(key(accents, "cote"), key(accents, "côté"));
        assert_ne!(key(accents, "cote"), key(accents, "Cote"));
    }

    #[test]
    fn strings_come_back_out_of_their_keys() {
        let rules = rules("de").unwrap();
        for text in ["", "Straße", "a b", "日本"] {
            assert_eq!(text_of(&rules.key_with_text(text, text)), text);
        }
    }

    #[test]
    fn what_is_no_option_is_refused() {
        assert_eq!(rules("@colNumeric=lower").unwrap_err().state(), SqlState::InvalidParameterValue);
        assert_eq!(rules("de-u-kr-grek").unwrap_err().state(), SqlState::FeatureNotSupported);
        assert!(rules("nonsense").is_ok() && rules("en_US.utf8").is_ok());
    }

    #[test]
    fn builtin_collations_are_found_by_number_and_name() {
        assert!(BUILTIN.windows(2).all(|pair| pair[0].oid < pair[1].oid));
        assert!(BUILTIN.iter().filter_map(|b| b.locale).all(|locale| rules(locale).is_ok()));
        let german = builtin_named("de-x-icu").unwrap();
        assert_eq!((builtin(german.oid).unwrap().name, german.locale), ("de-x-icu", Some("de")));
    }
}
