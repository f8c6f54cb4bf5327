//! Reads that exist both outside and inside a transaction.

/// Makes each line a method of [`Catalog`](crate::Catalog) and of [`Tx`](crate::Tx): `one` answers
/// the first record or `None`, `many` all records.
macro_rules! reads {
    ($class:ident; $($(#[$doc:meta])* $kind:ident $name:ident($($arg:ident: $type:ty),*) -> $record:ty = $statement:expr;)*) => {
        impl $crate::Catalog {
            $($crate::reads::read!($class; $(#[$doc])* $kind [&] $name($($arg: $type),*) -> $record = $statement);)*
        }
        impl $crate::Tx {
            $($crate::reads::read!($class; $(#[$doc])* $kind [&mut] $name($($arg: $type),*) -> $record = $statement);)*
        }
    };
}

macro_rules! read {
    ($class:ident; $(#[$doc:meta])* one [$($by:tt)+] $name:ident($($arg:ident: $type:ty),*) -> $record:ty = $statement:expr) => {
        $(#[$doc])*
        pub async fn $name($($by)+ self, $($arg: $type),*) -> $crate::Result<Option<$record>> {
            self.first($crate::Class::$class, $statement).await
        }
    };
    ($class:ident; $(#[$doc:meta])* many [$($by:tt)+] $name:ident($($arg:ident: $type:ty),*) -> $record:ty = $statement:expr) => {
        $(#[$doc])*
        pub async fn $name($($by)+ self, $($arg: $type),*) -> $crate::Result<Vec<$record>> {
            self.rows($crate::Class::$class, $statement).await
        }
    };
}

pub(crate) use read;
pub(crate) use reads;
