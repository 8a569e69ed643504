//! Words with a meaning, and room for words that a later version adds.

/// Declares an enum of words. A word that isn't among them is kept as
/// `Unknown` and written back as it came.
///
/// `schema = closed` lists the words in the CRD, so that the API server
/// refuses others (for what users write). `schema = open` doesn't (for what
/// controllers write: a newer one may know more words than an installed CRD).
macro_rules! vocabulary {
    (
        $(#[$meta:meta])*
        pub enum $name:ident, schema = $openness:ident {
            $( $(#[$variant_meta:meta])* $variant:ident, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
            /// A word that this version doesn't know.
            Unknown(String),
        }

        impl $name {
            /// The words that this version knows.
            pub const WORDS: &'static [&'static str] = &[$( stringify!($variant) ),+];

            /// The word, as the API has it.
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => stringify!($variant), )+
                    Self::Unknown(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $( stringify!($variant) => Self::$variant, )+
                    _ => Self::Unknown(word.to_owned()),
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <String as ::serde::Deserialize>::deserialize(deserializer)?;
                Ok(Self::from(word.as_str()))
            }
        }

        impl ::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                $crate::api::vocabulary::vocabulary!(@schema $openness)
            }
        }
    };
    (@schema closed) => {
        ::schemars::json_schema!({ "type": "string", "enum": Self::WORDS })
    };
    (@schema open) => {
        ::schemars::json_schema!({ "type": "string" })
    };
}

pub(crate) use vocabulary;
