//! The code of texts in header fields (RFC 7541, appendix B). It is canonical: the lengths of its words tell all of it.

/// Bits of the word of each byte. Beside them stands one of 30 ones, which ends a text and is never sent.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];

/// Fewest and most bits of a word.
const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// Words in the order of their lengths.
struct Words {
    bytes: [u8; 256],
    /// By length: the word behind the last one, at the top of 32 bits.
    ends: [u32; LONGEST + 1],
    /// By length: the first word, and where its byte stands.
    firsts: [(u32, usize); LONGEST + 1],
}

static WORDS: Words = {
    let mut words = Words { bytes: [0; 256], ends: [0; LONGEST + 1], firsts: [(0, 0); LONGEST + 1] };
    let (mut code, mut place, mut length) = (0u32, 0, SHORTEST);
    while length <= LONGEST {
        words.firsts[length] = (code, place);
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                words.bytes[place] = byte as u8;
                place += 1;
                code += 1;
            }
            byte += 1;
        }
        words.ends[length] = code << (32 - length);
        code <<= 1;
        length += 1;
    }
    words
};

/// Appends the text that `coded` stands for; whether it is one.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> bool {
    // What came and isn't read yet stands at the lower end.
    let (mut bits, mut count, mut rest) = (0u64, 0, coded.iter());
    loop {
        while count <= 32 {
            let Some(&byte) = rest.next() else { break };
            bits = bits << 8 | u64::from(byte);
            count += 8;
        }
        // What is missing reads as ones, as the end of a text is filled.
        let filled = if count == 0 { u64::MAX } else { bits << (64 - count) | u64::MAX >> count };
        let window = (filled >> 32) as u32;
        let Some(length) = (SHORTEST..=LONGEST).find(|&length| window < WORDS.ends[length]) else {
            return count < 8 && window == u32::MAX;
        };
        if length > count {
            return count < 8 && window == u32::MAX;
        }
        let (first, place) = WORDS.firsts[length];
        let word = window >> (32 - length);
        out.push(WORDS.bytes[place + (word - first) as usize]);
        count -= length;
        bits &= (1 << count) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for &byte in text {
            let length = usize::from(LENGTHS[usize::from(byte)]);
            let (first, place) = WORDS.firsts[length];
            let at = WORDS.bytes[place..].iter().position(|&b| b == byte).unwrap();
            bits += &format!("{:0length$b}", first as usize + at);
        }
        bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
        bits.as_bytes().chunks(8).map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 2).unwrap()).collect()
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).then_some(out)
    }

    #[test]
    fn texts_are_those_of_the_rfc() {
        // RFC 7541, C.4 and C.6.
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..][..2], 16).unwrap()).collect()
        };
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            assert_eq!((encode(text.as_bytes()), decoded(&hex(coded))), (hex(coded), Some(text.into())));
        }
        let all: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
        for start in 0..all.len() {
            assert_eq!(decoded(&encode(&all[start..])).as_deref(), Some(&all[start..]));
        }
        assert_eq!(decoded(b""), Some(Vec::new()));
    }

    #[test]
    fn what_ends_otherwise_than_with_less_than_a_byte_of_ones_is_refused() {
        // '0' is five zeros: the three bits behind it fill the byte.
        assert_eq!(decoded(&[0b0000_0111]), Some(b"0".to_vec()));
        for coded in [&[0b0000_0110][..], &[0b0000_0111, 0xff], &[0xff], &[0xff; 4], &[0xfe]] {
            assert_eq!(decoded(coded), None, "{coded:?}");
        }
    }
}
