//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without I/O.
//!
//! Channel binding is not offered: the mechanism list names SCRAM-SHA-256 alone, in clear and under TLS.
//!
//! Invariant 1: an unknown user sees the same exchange as a known one: a salt that stays the same from one attempt to
//! the next, and the failure only at its end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use engine::error::{Error, Result, SqlState};
use ring::{digest, hmac};

use crate::frontend::Reader;

pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";

/// PostgreSQL's default, shown for unknown users.
const MOCK_ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;
const KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// What is stored instead of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
}

impl Verifier {
    /// Reads PostgreSQL's form, `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
    pub fn parse(text: &str) -> Option<Verifier> {
        let (iterations_salt, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = iterations_salt.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text| BASE64.decode(text).ok()?.try_into().ok();
        Some(Verifier {
            iterations: iterations.parse().ok().filter(|n| *n > 0)?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }

    fn mock(user: &str, secret: &[u8]) -> Verifier {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, user.as_bytes());
        Verifier {
            iterations: MOCK_ITERATIONS,
            salt: tag.as_ref().iter().copied().take(SALT_BYTES).collect(),
            stored_key: [0; KEY_BYTES],
            server_key: [0; KEY_BYTES],
        }
    }
}

/// An exchange that waits for the client's first message.
pub(crate) struct Exchange {
    user: String,
    verifier: Verifier,
    /// The user exists and has a verifier; without one the last step fails.
    known: bool,
}

/// An exchange that waits for the client's proof.
pub(crate) struct Challenge {
    exchange: Exchange,
    nonce: String,
    /// `c=` must repeat the header of the first message.
    header: String,
    /// client-first-message-bare "," server-first-message.
    messages: String,
}

fn malformed(detail: &str) -> Error {
    Error::new(SqlState::ProtocolViolation, "malformed SCRAM message").detail(detail)
}

impl Exchange {
    pub fn new(user: &str, stored: Option<&str>, mock_secret: &[u8]) -> Exchange {
        let verifier = stored.and_then(Verifier::parse);
        Exchange {
            user: user.to_owned(),
            known: verifier.is_some(),
            verifier: verifier.unwrap_or_else(|| Verifier::mock(user, mock_secret)),
        }
    }

    /// Takes the body of SASLInitialResponse; answers the server's first message.
    pub fn challenge(self, body: &[u8]) -> Result<(Challenge, String)> {
        let nonce = BASE64.encode(rand::random::<[u8; NONCE_BYTES]>());
        self.challenge_with(body, &nonce)
    }

    fn challenge_with(self, body: &[u8], server_nonce: &str) -> Result<(Challenge, String)> {
        let mut reader = Reader::new(body);
        if reader.string()? != MECHANISM {
            return Err(Error::new(
                SqlState::ProtocolViolation,
                "client selected an invalid SASL authentication mechanism",
            ));
        }
        let length = usize::try_from(reader.i32()?).map_err(|_| malformed("The message is empty."))?;
        let text = ascii(reader.bytes(length)?)?;
        reader.end()?;

        let (flag, rest) =
            text.split_once(',').ok_or_else(|| malformed("Comma expected, but found end of message."))?;
        match flag {
            "n" | "y" => (),
            _ if flag.starts_with("p=") => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
                ));
            }
            _ => return Err(malformed("Unexpected channel-binding flag.")),
        }
        let (identity, bare) =
            rest.split_once(',').ok_or_else(|| malformed("Comma expected, but found end of message."))?;
        if !identity.is_empty() {
            return Err(Error::unsupported("a SCRAM authorization identity"));
        }
        let mut attributes = bare.split(',');
        let first = attributes.next().unwrap_or_default();
        if first.starts_with("m=") {
            return Err(Error::unsupported("a mandatory SCRAM extension"));
        }
        // The user's name in the exchange is ignored, as in PostgreSQL: the startup message says who it is.
        if !first.starts_with("n=") {
            return Err(malformed("Expected attribute \"n\"."));
        }
        let client_nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="))
            .ok_or_else(|| malformed("Expected attribute \"r\"."))?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(malformed("Non-printable characters in SCRAM nonce."));
        }

        let nonce = format!("{client_nonce}{server_nonce}");
        let answer = format!("r={nonce},s={},i={}", BASE64.encode(&self.verifier.salt), self.verifier.iterations);
        let challenge = Challenge {
            header: format!("{flag},{identity},"),
            messages: format!("{bare},{answer}"),
            nonce,
            exchange: self,
        };
        Ok((challenge, answer))
    }
}

impl Challenge {
    /// Takes the body of SASLResponse; answers the server's last message, or 28P01.
    pub fn verify(self, body: &[u8]) -> Result<String> {
        let text = ascii(body)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or_else(|| malformed("Expected attribute \"p\"."))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("c="))
            .ok_or_else(|| malformed("Expected attribute \"c\"."))?;
        if binding != BASE64.encode(&self.header) {
            return Err(Error::new(
                SqlState::ProtocolViolation,
                "unexpected SCRAM channel-binding attribute in client-final-message",
            ));
        }
        if attributes.next().and_then(|a| a.strip_prefix("r=")) != Some(self.nonce.as_str()) {
            return Err(malformed("Nonce does not match."));
        }
        let proof: [u8; KEY_BYTES] = BASE64
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or_else(|| malformed("Malformed proof in client-final-message."))?;

        let message = format!("{},{without_proof}", self.messages);
        let verifier = &self.exchange.verifier;
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        let signature = sign(&verifier.stored_key);
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        // Both sides of the comparison are hashes: what its time tells says nothing of the key.
        let matches = digest::digest(&digest::SHA256, &client_key).as_ref() == verifier.stored_key.as_slice();
        if !(matches && self.exchange.known) {
            return Err(password_failed(&self.exchange.user));
        }
        Ok(format!("v={}", BASE64.encode(sign(&verifier.server_key))))
    }
}

fn ascii(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed("The message is not valid UTF-8."))
}

fn password_failed(user: &str) -> Error {
    Error::new(SqlState::InvalidPassword, format!("password authentication failed for user \"{user}\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // RFC 7677, section 3.
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const LAST: &str =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn rfc_verifier() -> String {
        let mut salted = [0; KEY_BYTES];
        ring::pbkdf2::derive(
            ring::pbkdf2::PBKDF2_HMAC_SHA256,
            4096.try_into().unwrap(),
            &BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            b"pencil",
            &mut salted,
        );
        let sign = |text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), text);
        let stored = digest::digest(&digest::SHA256, sign(b"Client Key").as_ref());
        format!(
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${}:{}",
            BASE64.encode(stored),
            BASE64.encode(sign(b"Server Key"))
        )
    }

    fn initial(message: &str) -> Vec<u8> {
        let mut body = b"SCRAM-SHA-256\0".to_vec();
        body.extend_from_slice(&(message.len() as i32).to_be_bytes());
        body.extend_from_slice(message.as_bytes());
        body
    }

    #[test]
    fn the_rfc_example_passes() {
        let exchange = Exchange::new("user", Some(&rfc_verifier()), b"secret");
        let (challenge, first) = exchange.challenge_with(&initial(FIRST), SERVER_NONCE).unwrap();
        assert_eq!(first, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        assert_eq!(challenge.verify(LAST.as_bytes()).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_wrong_proof_nonce_or_header_fails() {
        let cases = [
            (LAST.replace("p=dHzb", "p=eHzb"), SqlState::InvalidPassword),
            (LAST.replace("r=rOpr", "r=xOpr"), SqlState::ProtocolViolation),
            (LAST.replace("c=biws", "c=eSws"), SqlState::ProtocolViolation),
            (LAST.replace(",p=", ",q="), SqlState::ProtocolViolation),
            (String::new(), SqlState::ProtocolViolation),
        ];
        for (last, state) in cases {
            let exchange = Exchange::new("user", Some(&rfc_verifier()), b"secret");
            let (challenge, _) = exchange.challenge_with(&initial(FIRST), SERVER_NONCE).unwrap();
            let error = challenge.verify(last.as_bytes()).unwrap_err();
            assert_eq!(error.state(), state, "{last}");
        }
    }

    #[test]
    fn an_unknown_user_fails_last_with_a_steady_salt() {
        let salt = |user: &str| {
            let exchange = Exchange::new(user, None, b"secret");
            let (challenge, first) = exchange.challenge_with(&initial(FIRST), SERVER_NONCE).unwrap();
            let error = challenge.verify(LAST.as_bytes()).unwrap_err();
            assert_eq!(error.message(), format!("password authentication failed for user \"{user}\""));
            first.split(",s=").nth(1).unwrap().to_owned()
        };
        assert_eq!(salt("nobody"), salt("nobody"));
        assert_ne!(salt("nobody"), salt("noone"));
    }

    #[test]
    fn channel_binding_and_other_mechanisms_are_refused() {
        for first in ["p=tls-unique,,n=,r=abc", "n,a=x,n=,r=abc", "x,,n=,r=abc", "n,,r=abc", "n,,n=,r=", "n"] {
            let exchange = Exchange::new("user", None, b"secret");
            assert!(exchange.challenge_with(&initial(first), "n").is_err(), "{first}");
        }
        let exchange = Exchange::new("user", None, b"secret");
        assert!(exchange.challenge_with(b"SCRAM-SHA-256-PLUS\0\0\0\0\0", "n").is_err());
    }
}
