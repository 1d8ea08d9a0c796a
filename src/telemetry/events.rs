//! stub
#![allow(missing_docs, dead_code)]
use crate::domain::*; use std::time::Duration;
macro_rules! ev { ($n:ident <$($l:lifetime)?> { $($f:ident : $t:ty),* }) => { pub(crate) struct $n<$($l)?> { $(pub $f: $t),* } impl<$($l)?> $n<$($l)?> { pub(crate) fn emit(self) {} } } }
type E<'a> = &'a (dyn std::error::Error + 'static);
ev!(ConsumerStumbled<'a>{topic:&'a str, error: E<'a>, times:u32});
ev!(RecordsInFlight<'a>{topic:&'a str, count:usize});
ev!(ConsumerLag<'a>{topic:&'a str, records:i64});
ev!(Rebalanced<'a>{topic:&'a str, partitions:usize});
ev!(RecordHandled<'a>{topic:&'a str, elapsed:Duration});
ev!(RecordHeld<'a>{position:&'a RecordPosition, error:&'a (dyn std::error::Error+'static), tries:u32});
ev!(RecordRejected<'a>{position:&'a RecordPosition, reason:ErrorCode, error:&'a (dyn std::error::Error+'static)});
ev!(RequestStarted<'a>{position:&'a RecordPosition, request_id:&'a RequestId});
ev!(RequestRepeated<'a>{position:&'a RecordPosition, request_id:&'a RequestId});
ev!(CommandHandled<'a>{position:&'a RecordPosition, action:Action, outcome:&'static str});
ev!(EventPublished<>{kind_of_event:EventType});
ev!(ProviderCalled<>{provider:ProviderName, step:&'static str, outcome:&'static str, elapsed:Duration});
ev!(ProviderStateUnknown<'a>{provider:ProviderName, state:&'a str});
ev!(RunEnded<'a>{request_id:&'a str, kind:Kind, outcome:&'static str, elapsed:Duration});
ev!(OutputStored<>{bytes:u64});
ev!(TempSwept<>{folders:usize});
ev!(RoleStarted<>{role:&'static str});
ev!(RoleStopped<>{role:&'static str});
