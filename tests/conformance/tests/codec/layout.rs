//! A second, slow writer of the layout, which also reports the position of each structural byte.
//!
//! It shares no code with `wincode` and none with `bincode`: the rules of `docs/protocol.md`, section 1,
//! implemented once more. The refusal tests use the positions to break every one of those bytes.

use serde::ser::{
    self, Impossible, Serialize, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

type Error = serde::de::value::Error;
type Unit = Result<(), Error>;

/// Meaning of a structural byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// One byte, 0 or 1.
    Bool,
    /// One byte: 0 for `None`, 1 for `Some`.
    Option,
    /// Four bytes: index of the variant.
    Tag,
    /// Eight bytes: number of elements that follow.
    Length,
}

/// Writes `value` and returns its bytes and marks with their offsets.
pub fn write<T: Serialize>(value: &T) -> (Vec<u8>, Vec<(usize, Mark)>) {
    let mut writer = Writer::default();
    value
        .serialize(&mut writer)
        .expect("the mirrors hold only supported types");
    (writer.bytes, writer.marks)
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    marks: Vec<(usize, Mark)>,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> Unit {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn mark(&mut self, mark: Mark, bytes: &[u8]) -> Unit {
        self.marks.push((self.bytes.len(), mark));
        self.put(bytes)
    }

    fn unsupported<T>() -> Result<T, Error> {
        Err(ser::Error::custom("not part of the layout"))
    }
}

macro_rules! integers {
    ($($name:ident: $int:ty,)*) => {
        $(fn $name(self, value: $int) -> Unit { self.put(&value.to_le_bytes()) })*
    };
}

macro_rules! unsupported {
    ($($name:ident: $type:ty,)*) => {
        $(fn $name(self, _: $type) -> Unit { Writer::unsupported() })*
    };
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = &'a mut Writer;
    type SerializeTuple = &'a mut Writer;
    type SerializeTupleStruct = &'a mut Writer;
    type SerializeTupleVariant = &'a mut Writer;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = &'a mut Writer;
    type SerializeStructVariant = &'a mut Writer;

    integers! {
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_i64: i64,
    }
    // The chain has no floats, no small signed integers and no characters.
    unsupported! {
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_bool(self, value: bool) -> Unit {
        self.mark(Mark::Bool, &[u8::from(value)])
    }

    fn serialize_str(self, value: &str) -> Unit {
        self.mark(Mark::Length, &(value.len() as u64).to_le_bytes())?;
        self.put(value.as_bytes())
    }

    fn serialize_none(self) -> Unit {
        self.mark(Mark::Option, &[0])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Unit {
        self.mark(Mark::Option, &[1])?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Unit {
        Writer::unsupported()
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Unit {
        self.mark(Mark::Tag, &index.to_le_bytes())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Unit {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Unit {
        self.mark(Mark::Tag, &index.to_le_bytes())?;
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, Error> {
        let len = len.ok_or_else(|| <Error as ser::Error>::custom("a list without a length"))?;
        self.mark(Mark::Length, &(len as u64).to_le_bytes())?;
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        self.mark(Mark::Tag, &index.to_le_bytes())?;
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        Writer::unsupported()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        self.mark(Mark::Tag, &index.to_le_bytes())?;
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! in_order {
    ($($of:ident . $put:ident ($($key:ident)?),)*) => {$(
        impl $of for &mut Writer {
            type Ok = ();
            type Error = Error;
            fn $put<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Unit {
                $(let _ = $key;)?
                value.serialize(&mut **self)
            }
            fn end(self) -> Unit {
                Ok(())
            }
        }
    )*};
}

in_order! {
    SerializeSeq.serialize_element(),
    SerializeTuple.serialize_element(),
    SerializeTupleStruct.serialize_field(),
    SerializeTupleVariant.serialize_field(),
    SerializeStruct.serialize_field(_key),
    SerializeStructVariant.serialize_field(_key),
}
