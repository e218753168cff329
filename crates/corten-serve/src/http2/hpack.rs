//! Header fields in their compact form (RFC 7541): read with the table of fields that the client has sent before, written
//! without one, so that what is the same in each answer is made once.

use std::collections::VecDeque;

use super::huffman;

/// Most bytes of the table of earlier fields, each with 32 bytes beside it.
const TABLE: usize = 4096;
const BESIDE: usize = 32;
/// How many times the size that is taken may come before a block is read no further.
const MUCH: usize = 4;

/// The fields that have a number from the start, the first of them 1.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Bytes that are no header fields: whatever follows on the connection can't be read either.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Fields that were read, one after another in one piece of memory.
#[derive(Default)]
pub(super) struct Fields {
    bytes: Vec<u8>,
    /// Where each field's name begins, its value begins, and it ends.
    places: Vec<(usize, usize, usize)>,
    /// Bytes of all, each with 32 bytes beside it.
    pub(super) size: usize,
    /// Whether there were more than fit, which aren't here then.
    pub(super) over: bool,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        (self.size, self.over) = (0, false);
    }

    /// Names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places.iter().map(|&(name, value, end)| (&self.bytes[name..value], &self.bytes[value..end]))
    }
}

/// Reads the fields of a connection.
#[derive(Default)]
pub(super) struct Decoder {
    /// Earlier fields, the last one first, and the lengths of their names.
    earlier: VecDeque<(Box<[u8]>, usize)>,
    size: usize,
    /// How much less than [`TABLE`] the client keeps.
    less: usize,
}

impl Decoder {
    /// Reads a block of at most `most` bytes of fields, each with 32 bytes beside it; what comes beyond is passed over.
    ///
    /// # Errors
    /// [`Broken`], also for fields of more than four times as many bytes.
    pub(super) fn read(&mut self, mut block: &[u8], most: usize, fields: &mut Fields) -> Result<(), Broken> {
        fields.clear();
        let mut begun = false;
        while let Some(&first) = block.first() {
            if first & 0xe0 == 0x20 {
                let size = number(&mut block, 5)?;
                if begun || size > TABLE {
                    return Err(Broken);
                }
                self.less = TABLE - size;
                self.shrink(size);
                continue;
            }
            begun = true;
            let name = fields.bytes.len();
            let (indexed, kept) = (first & 0x80 != 0, first & 0xc0 == 0x40);
            let number = number(
                &mut block,
                if indexed {
                    7
                } else if kept {
                    6
                } else {
                    4
                },
            )?;
            let value = if number == 0 {
                if indexed {
                    return Err(Broken);
                }
                text(&mut block, &mut fields.bytes)?;
                fields.bytes.len()
            } else {
                let (known, said) = self.field(number)?;
                fields.bytes.extend_from_slice(known);
                if indexed {
                    fields.bytes.extend_from_slice(said);
                }
                name + known.len()
            };
            if !indexed {
                text(&mut block, &mut fields.bytes)?;
            }
            let whole = &fields.bytes[name..];
            if kept {
                self.keep(whole, value - name);
            }
            fields.size += whole.len() + BESIDE;
            // A byte may stand for a field of the whole table: whoever sends more than this many of them isn't answered.
            if fields.size > MUCH * most {
                return Err(Broken);
            }
            if fields.size > most {
                fields.over = true;
                fields.bytes.truncate(name);
            } else {
                fields.places.push((name, value, fields.bytes.len()));
            }
        }
        Ok(())
    }

    /// The field of a number that isn't 0.
    fn field(&self, number: usize) -> Result<(&[u8], &[u8]), Broken> {
        if let Some((name, value)) = STATIC.get(number - 1) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let (field, name) = self.earlier.get(number - 1 - STATIC.len()).ok_or(Broken)?;
        Ok(field.split_at(*name))
    }

    fn keep(&mut self, field: &[u8], name: usize) {
        let (size, most) = (field.len() + BESIDE, TABLE - self.less);
        self.shrink(most.saturating_sub(size));
        // One that is larger than the table leaves it empty.
        if size <= most {
            self.size += size;
            self.earlier.push_front((field.into(), name));
        }
    }

    fn shrink(&mut self, most: usize) {
        while self.size > most
            && let Some((field, _)) = self.earlier.pop_back()
        {
            self.size -= field.len() + BESIDE;
        }
    }
}

/// Reads a number whose first byte has `bits` of it.
fn number(block: &mut &[u8], bits: u32) -> Result<usize, Broken> {
    let (&first, mut rest) = block.split_first().ok_or(Broken)?;
    let most = (1 << bits) - 1;
    let mut number = usize::from(first) & most;
    if number == most {
        // No length and no place here needs more than 28 bits.
        for shift in [0, 7, 14, 21, 28] {
            let (&byte, after) = rest.split_first().filter(|_| shift < 28).ok_or(Broken)?;
            rest = after;
            number += usize::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
    }
    *block = rest;
    Ok(number)
}

/// Reads a text and appends it.
fn text(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let coded = block.first().ok_or(Broken)? & 0x80 != 0;
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Broken)?;
    *block = rest;
    if !coded {
        out.extend_from_slice(text);
        return Ok(());
    }
    if huffman::decode(text, out) { Ok(()) } else { Err(Broken) }
}

/// Writes the field that tells an answer's status.
pub(crate) fn status(status: u16, out: &mut Vec<u8>) {
    if status == 200 {
        // The eighth field of all.
        out.push(0x88);
    } else {
        field(b":status", status.to_string().as_bytes(), out);
    }
}

/// Writes a field that no table is to keep.
pub(crate) fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        let mut length = text.len();
        if length < 127 {
            out.push(length as u8);
        } else {
            out.push(127);
            length -= 127;
            while length >= 128 {
                out.push(length as u8 | 128);
                length >>= 7;
            }
            out.push(length as u8);
        }
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }

    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<String, Broken> {
        let mut fields = Fields::default();
        decoder.read(block, 1 << 14, &mut fields)?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(fields.iter().map(|(name, value)| format!("{}: {}\n", text(name), text(value))).collect())
    }

    #[test]
    fn blocks_are_those_of_the_rfc() {
        // RFC 7541, C.3 and C.4: the same fields as they are and in code.
        for blocks in [
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut decoder = Decoder::default();
            let got = blocks.map(|block| read(&mut decoder, &bytes(block)).unwrap());
            let most = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n";
            let last = ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n";
            let wanted =
                [most.into(), format!("{most}cache-control: no-cache\n"), format!("{last}custom-key: custom-value\n")];
            assert_eq!(got, wanted);
            assert_eq!((decoder.size, decoder.earlier.len()), (164, 3));
        }
    }

    #[test]
    fn the_table_forgets_the_oldest_fields_and_is_as_large_as_the_client_says() {
        let mut decoder = Decoder::default();
        let kept = |name: &str, length: usize| {
            let mut block = vec![0x40];
            let mut rest = Vec::new();
            field(name.as_bytes(), "v".repeat(length).as_bytes(), &mut rest);
            block.extend_from_slice(&rest[1..]);
            block
        };
        // Three of 1,360 bytes fit, four don't.
        for name in ["a", "b", "c", "d"] {
            read(&mut decoder, &kept(name, 1327)).unwrap();
        }
        assert!(read(&mut decoder, &[0x80 | 62]).unwrap().starts_with("d: "));
        assert!(read(&mut decoder, &[0x80 | 64]).unwrap().starts_with("b: "));
        assert_eq!(read(&mut decoder, &[0x80 | 65]), Err(Broken));
        // A smaller table, told at the start of a block only.
        assert_eq!(read(&mut decoder, &[0x3f, 0xc1, 0x0a, 0x82]).unwrap(), ":method: GET\n");
        assert_eq!(decoder.earlier.len(), 1);
        assert_eq!(read(&mut decoder, &[0x82, 0x20]), Err(Broken));
        // 4,097 bytes are more than this side allows.
        assert_eq!(read(&mut decoder, &[0x3f, 0xe2, 0x1f]), Err(Broken));
        read(&mut decoder, &[0x3f, 0xe1, 0x1f]).unwrap();
        read(&mut decoder, &kept("e", 5000)).unwrap();
        assert!(decoder.earlier.is_empty() && decoder.size == 0);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for block in [
            "80",
            "be",
            "ff",
            "ff80808080",
            "ffffffffff7f",
            "40",
            "4001",
            "400161",
            "40016105 6263",
            "0f",
            "00016181 fe",
        ] {
            assert_eq!(read(&mut Decoder::default(), &bytes(block)), Err(Broken), "{block}");
        }
        assert_eq!(read(&mut Decoder::default(), b"").unwrap(), "");
        let mut out = Vec::new();
        status(431, &mut out);
        field(b"long", &[b'x'; 400], &mut out);
        let text = read(&mut Decoder::default(), &out).unwrap();
        assert_eq!(text, format!(":status: 431\nlong: {}\n", "x".repeat(400)));
    }

    #[test]
    fn more_fields_than_fit_are_passed_over_and_the_table_kept() {
        let (mut decoder, mut fields) = (Decoder::default(), Fields::default());
        let mut block = bytes("4001 610162");
        field(b"x", &[b'y'; 100], &mut block);
        block.push(0x82);
        decoder.read(&block, 90, &mut fields).unwrap();
        assert!(fields.over && fields.iter().eq([(&b"a"[..], &b"b"[..])]));
        decoder.read(&[0xbe], 90, &mut fields).unwrap();
        assert!(!fields.over && fields.iter().count() == 1);
        // Each of these bytes is a field of 34 bytes.
        decoder.read(&[0xbe; 10], 90, &mut fields).unwrap();
        assert!(fields.over && fields.iter().count() == 2);
        assert_eq!(decoder.read(&[0xbe; 11], 90, &mut fields), Err(Broken));
    }
}
