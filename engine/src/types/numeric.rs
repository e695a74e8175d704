//! PostgreSQL's numeric: exact decimals of any size, NaN and the infinities, with a display scale.

use num_bigint::BigInt;

/// A numeric value. `Finite` is `mantissa * 10^-scale`; `scale` is also what is displayed (dscale).
#[derive(Debug, Clone)]
pub enum Numeric {
    NegInfinity,
    Finite { mantissa: BigInt, scale: u16 },
    Infinity,
    NaN,
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Numeric {
    /// Bytes whose lexicographic order is the numeric order, followed by the display scale (two bytes, last), so that
    /// two equal numbers of different scale differ only in their last two bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Numeric::NegInfinity => vec![0, 0, 0],
            Numeric::Finite { mantissa, scale } => {
                let mut out = vec![1];
                out.extend_from_slice(mantissa.to_string().as_bytes());
                out.extend_from_slice(&scale.to_be_bytes());
                out
            }
            Numeric::Infinity => vec![2, 0, 0],
            Numeric::NaN => vec![3, 0, 0],
        }
    }
}
