//! Arrow IPC, streams and files. Lengths that a message claims are checked against what is there before Arrow's own
//! library, which sets memory aside for them, sees the message.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{FileDecoder, StreamDecoder, read_footer_length};
use arrow_ipc::{Block, RecordBatch as Parts, Schema as IpcSchema, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

/// Most bytes of one message once it is decompressed.
const MAX_DECOMPRESSED: u64 = 4 << 30;
/// Rows that a message may always have; more need bytes for them.
const FEW_ROWS: u64 = 1 << 20;
/// What comes before the length of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];

type Result<T, E = ArrowError> = std::result::Result<T, E>;

fn fault(problem: &str) -> ArrowError {
    ArrowError::IpcError(problem.to_owned())
}

/// Reads exactly `count` bytes; memory grows with what is there, not with what is claimed.
fn bytes(input: &mut impl Read, count: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    input.take(count).read_to_end(&mut out)?;
    if out.len() as u64 == count { Ok(out) } else { Err(fault("it ends within a message")) }
}

/// Checks what a message says of its body, and returns the body's length.
fn check_length(metadata: &[u8]) -> Result<u64> {
    let message = root_as_message(metadata).map_err(|e| fault(&e.to_string()))?;
    u64::try_from(message.bodyLength()).map_err(|_| fault("a message has a negative length"))
}

/// Checks the rows and the decompressed lengths that a message claims.
fn check_body(metadata: &[u8], body: &[u8]) -> Result<()> {
    let message = root_as_message(metadata).map_err(|e| fault(&e.to_string()))?;
    let parts = message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch()?.data());
    parts.map_or(Ok(()), |parts| check_parts(&parts, body))
}

fn check_parts(parts: &Parts<'_>, body: &[u8]) -> Result<()> {
    let rows = u64::try_from(parts.length()).map_err(|_| fault("a block has a negative number of rows"))?;
    let mut size = body.len() as u64;
    if parts.compression().is_some() {
        size = 0;
        for buffer in parts.buffers().iter().flatten() {
            let start = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
            let prefix = body.get(start..).and_then(<[u8]>::first_chunk).filter(|_| buffer.length() > 0);
            let claimed = prefix.map_or(0, |p| i64::from_le_bytes(*p));
            // -1 marks a buffer that is kept as it is.
            let claimed = if claimed < 0 { buffer.length().max(0) } else { claimed };
            size = size.saturating_add(claimed.unsigned_abs());
        }
        if size > MAX_DECOMPRESSED {
            return Err(fault("a block of more than 4 GiB"));
        }
    }
    if rows > FEW_ROWS.max(size.saturating_mul(8)) {
        return Err(fault("a block claims more rows than its bytes can hold"));
    }
    Ok(())
}

fn schema_of(schema: IpcSchema<'_>) -> Result<SchemaRef> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(fault("its bytes are in another order than this machine's"));
    }
    Ok(Arc::new(fb_to_schema(schema)))
}

/// The blocks of a stream.
pub(crate) struct Stream<R> {
    input: R,
    schema: SchemaRef,
    decoder: StreamDecoder,
    waiting: VecDeque<Buffer>,
    ended: bool,
    /// Whether it must say that it has ended.
    whole: bool,
}

impl<R: Read> Stream<R> {
    /// A stream of which something outside says that it is all there.
    pub(crate) fn new(input: R) -> Result<Self> {
        Self::begin(input, false)
    }

    /// A stream that may have been cut: it must end with its mark.
    pub(crate) fn whole(input: R) -> Result<Self> {
        Self::begin(input, true)
    }

    fn begin(input: R, whole: bool) -> Result<Self> {
        let mut stream = Self {
            input,
            schema: Arc::new(arrow_schema::Schema::empty()),
            decoder: StreamDecoder::new(),
            waiting: VecDeque::new(),
            ended: false,
            whole: false,
        };
        let first = stream.message()?.ok_or_else(|| fault("it is empty"))?;
        stream.whole = whole;
        let message = root_as_message(&first).map_err(|e| fault(&e.to_string()))?;
        stream.schema = schema_of(message.header_as_schema().ok_or_else(|| fault("it doesn't start with a schema"))?)?;
        Ok(stream)
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Takes the next message in and returns its metadata; `None` at the end.
    fn message(&mut self) -> Result<Option<Vec<u8>>> {
        let mut start = Vec::new();
        self.input.by_ref().take(4).read_to_end(&mut start)?;
        if start.is_empty() && self.whole {
            return Err(fault("it was cut: the mark that ends a stream is missing"));
        }
        if start.is_empty() {
            return Ok(None);
        }
        if start == CONTINUATION {
            start = bytes(&mut self.input, 4)?;
        }
        let length: [u8; 4] = start.try_into().map_err(|_| fault("it ends within a message"))?;
        let length = u32::try_from(i32::from_le_bytes(length)).map_err(|_| fault("a negative length"))?;
        if length == 0 {
            return Ok(None);
        }
        let metadata = bytes(&mut self.input, length.into())?;
        let body = bytes(&mut self.input, check_length(&metadata)?)?;
        check_body(&metadata, &body)?;
        let head = [&CONTINUATION[..], &length.to_le_bytes(), &metadata].concat();
        self.waiting.extend([Buffer::from_vec(head), Buffer::from_vec(body)]);
        Ok(Some(metadata))
    }

    fn block(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            while let Some(next) = self.waiting.front_mut() {
                if let Some(batch) = self.decoder.decode(next)? {
                    return Ok(Some(batch));
                }
                self.waiting.pop_front();
            }
            if self.ended {
                return Ok(None);
            }
            if self.message()?.is_none() {
                self.ended = true;
                // The decoder only looks at a message without a body when something follows.
                self.waiting.push_back(Buffer::from_vec([CONTINUATION, [0; 4]].concat()));
            }
        }
    }
}

impl<R: Read> Iterator for Stream<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.block().transpose();
        if matches!(next, Some(Err(_))) {
            self.ended = true;
            self.waiting.clear();
        }
        next
    }
}

/// The blocks of a file, found by its footer.
pub(crate) struct Blocks<R> {
    input: R,
    length: u64,
    schema: SchemaRef,
    decoder: FileDecoder,
    blocks: std::vec::IntoIter<Block>,
}

impl<R: Read + Seek> Blocks<R> {
    pub(crate) fn new(mut input: R) -> Result<Self> {
        let length = input.seek(SeekFrom::End(0))?;
        let end = length.checked_sub(10).ok_or_else(|| fault("it is too short"))?;
        input.seek(SeekFrom::Start(end))?;
        let tail: [u8; 10] = bytes(&mut input, 10)?.try_into().map_err(|_| fault("it is too short"))?;
        let size = read_footer_length(tail)? as u64;
        let start = end.checked_sub(size).ok_or_else(|| fault("its footer is longer than the file"))?;
        input.seek(SeekFrom::Start(start))?;
        let footer = bytes(&mut input, size)?;
        let footer = root_as_footer(&footer).map_err(|e| fault(&e.to_string()))?;
        let schema = schema_of(footer.schema().ok_or_else(|| fault("it has no schema"))?)?;
        let blocks: Vec<Block> = footer.recordBatches().iter().flatten().copied().collect();
        let decoder = FileDecoder::new(schema.clone(), footer.version());
        let mut this = Self { input, length, schema, decoder, blocks: blocks.into_iter() };
        for block in footer.dictionaries().iter().flatten() {
            let data = this.data(block)?;
            this.decoder.read_dictionary(block, &data)?;
        }
        Ok(this)
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The bytes of a block, its metadata first.
    fn data(&mut self, block: &Block) -> Result<Buffer> {
        let outside = || fault("a block lies outside the file");
        let place = |at: i64| u64::try_from(at).map_err(|_| outside());
        let (offset, head, body) =
            (place(block.offset())?, place(block.metaDataLength().into())?, place(block.bodyLength())?);
        let size = head.checked_add(body).filter(|s| s.checked_add(offset).is_some_and(|end| end <= self.length));
        let size = size.ok_or_else(outside)?;
        self.input.seek(SeekFrom::Start(offset))?;
        let data = bytes(&mut self.input, size)?;
        let (head, body) = data.split_at(usize::try_from(head).map_err(|_| outside())?);
        let prefix = if head.starts_with(&CONTINUATION) { 8 } else { 4 };
        check_body(head.get(prefix..).ok_or_else(outside)?, body)?;
        Ok(Buffer::from_vec(data))
    }
}

impl<R: Read + Seek> Iterator for Blocks<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = self.blocks.next()?;
        let batch = self.data(&block).and_then(|data| self.decoder.read_record_batch(&block, &data)).transpose();
        if matches!(batch, Some(Err(_))) {
            self.blocks = Vec::new().into_iter();
        }
        batch
    }
}

/// Whether a file begins as Arrow files do; leaves it at its start.
pub(crate) fn is_file(input: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut magic = [0; 6];
    let found = input.read_exact(&mut magic).is_ok() && &magic == b"ARROW1";
    input.rewind()?;
    Ok(found)
}
