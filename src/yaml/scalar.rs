//! Ways in which values of the lab file are written: macros that implement [`serde::Deserialize`] for them.

/// Implements `Deserialize` for a short form (a string) or a long form (a map). Errors are those of the form that the file uses.
#[macro_export]
macro_rules! string_or_map {
    ($type:ty, $expecting:literal, $text:expr, $map:expr) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> serde::de::Visitor<'de> for Either {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map($text).map_err(E::custom)
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map($map)
                    }
                }
                deserializer.deserialize_any(Either)
            }
        }
    };
}

/// Reads a single value: a number (a truth value is 1 or 0), or a text.
#[macro_export]
macro_rules! scalar {
    ($type:ty, $expecting:literal, $number:expr, $text:expr) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Scalar;
                impl serde::de::Visitor<'_> for Scalar {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        $number(i128::from(number)).map_err(E::custom)
                    }
                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        $number(i128::from(number)).map_err(E::custom)
                    }
                    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<$type, E> {
                        $number(i128::from(value)).map_err(E::custom)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        $text(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Scalar)
            }
        }
    };
}
