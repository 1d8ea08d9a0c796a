/* eslint-disable @typescript-eslint/no-namespace */

export type GenerationEvent = GenflowV1.GenerationEvent;

export namespace GenflowV1 {
    export const KindSchema = "{\"type\":\"enum\",\"name\":\"Kind\",\"doc\":\"What is made.\",\"symbols\":[\"UNKNOWN\",\"VIDEO\",\"IMAGE\",\"BATCH\"],\"default\":\"UNKNOWN\"}";
    export const KindName = "genflow.v1.Kind";
    /**
     * What is made.
     */
    export type Kind = "UNKNOWN" | "VIDEO" | "IMAGE" | "BATCH";
    export const EventTypeSchema = "{\"type\":\"enum\",\"name\":\"EventType\",\"doc\":\"What happened to a request.\",\"symbols\":[\"UNKNOWN\",\"STARTED\",\"PROGRESS\",\"COMPLETED\",\"FAILED\",\"CANCELLED\",\"REJECTED\"],\"default\":\"UNKNOWN\"}";
    export const EventTypeName = "genflow.v1.EventType";
    /**
     * What happened to a request.
     */
    export type EventType = "UNKNOWN" | "STARTED" | "PROGRESS" | "COMPLETED" | "FAILED" | "CANCELLED" | "REJECTED";
    export const ProgressSchema = "{\"type\":\"record\",\"name\":\"Progress\",\"doc\":\"How far the generation is.\",\"fields\":[{\"name\":\"percent\",\"type\":\"int\",\"doc\":\"0 to 100, never falling.\"},{\"name\":\"stage\",\"type\":\"string\",\"doc\":\"The provider's name for the current stage, at most 128 characters; for a batch, the word items.\"},{\"name\":\"message\",\"type\":[\"null\",\"string\"],\"doc\":\"Text for people, at most 1,000 characters; null if there is none.\",\"default\":null}]}";
    export const ProgressName = "genflow.v1.Progress";
    /**
     * How far the generation is.
     */
    export interface Progress {
        /**
         * 0 to 100, never falling.
         */
        percent: number;
        /**
         * The provider's name for the current stage, at most 128 characters; for a batch, the word items.
         */
        stage: string;
        /**
         * Text for people, at most 1,000 characters; null if there is none.
         *
         * Default: null
         */
        message: null | string;
    }
    export const OutputSchema = "{\"type\":\"record\",\"name\":\"Output\",\"doc\":\"One stored file.\",\"fields\":[{\"name\":\"uri\",\"type\":\"string\",\"doc\":\"Where the file is stored.\"},{\"name\":\"url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where the file can be fetched, if published.\",\"default\":null},{\"name\":\"content_type\",\"type\":\"string\",\"doc\":\"MIME type, detected from the file's first bytes, not taken from the provider's answer.\"},{\"name\":\"bytes\",\"type\":\"long\",\"doc\":\"Size of the file.\"},{\"name\":\"sha256\",\"type\":\"string\",\"doc\":\"Lower-case hex.\"},{\"name\":\"width\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels; null if genflow cannot read it from the file.\",\"default\":null},{\"name\":\"height\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels; null if genflow cannot read it from the file.\",\"default\":null},{\"name\":\"duration_seconds\",\"type\":[\"null\",\"double\"],\"doc\":\"Length of a video; null for an image, or if genflow cannot read it from the file.\",\"default\":null}]}";
    export const OutputName = "genflow.v1.Output";
    /**
     * One stored file.
     */
    export interface Output {
        /**
         * Where the file is stored.
         */
        uri: string;
        /**
         * Where the file can be fetched, if published.
         *
         * Default: null
         */
        url: null | string;
        /**
         * MIME type, detected from the file's first bytes, not taken from the provider's answer.
         */
        content_type: string;
        /**
         * Size of the file.
         */
        bytes: number;
        /**
         * Lower-case hex.
         */
        sha256: string;
        /**
         * Pixels; null if genflow cannot read it from the file.
         *
         * Default: null
         */
        width: null | number;
        /**
         * Pixels; null if genflow cannot read it from the file.
         *
         * Default: null
         */
        height: null | number;
        /**
         * Length of a video; null for an image, or if genflow cannot read it from the file.
         *
         * Default: null
         */
        duration_seconds: null | number;
    }
    export const CostSourceSchema = "{\"type\":\"enum\",\"name\":\"CostSource\",\"doc\":\"PROVIDER is a price that the provider reported, METERED its quantities at genflow's prices, ESTIMATE an amount by price rules, made before the submit.\",\"symbols\":[\"UNKNOWN\",\"PROVIDER\",\"METERED\",\"ESTIMATE\"],\"default\":\"UNKNOWN\"}";
    export const CostSourceName = "genflow.v1.CostSource";
    /**
     * PROVIDER is a price that the provider reported, METERED its quantities at genflow's prices, ESTIMATE an amount by price rules, made before the submit.
     */
    export type CostSource = "UNKNOWN" | "PROVIDER" | "METERED" | "ESTIMATE";
    export const NoteSchema = "{\"type\":\"record\",\"name\":\"Note\",\"doc\":\"How the input differs from the request.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"type\",\"type\":\"string\",\"doc\":\"adapted, dropped or overridden.\"},{\"name\":\"details\",\"type\":\"string\",\"doc\":\"What was sent or left out, and why, as text for people.\"}]}";
    export const NoteName = "genflow.v1.Note";
    /**
     * How the input differs from the request.
     */
    export interface Note {
        /**
         * Field of the request.
         */
        field: string;
        /**
         * adapted, dropped or overridden.
         */
        type: string;
        /**
         * What was sent or left out, and why, as text for people.
         */
        details: string;
    }
    export const ResultSchema = "{\"type\":\"record\",\"name\":\"Result\",\"doc\":\"What was made.\",\"fields\":[{\"name\":\"outputs\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Output\",\"doc\":\"One stored file.\",\"fields\":[{\"name\":\"uri\",\"type\":\"string\",\"doc\":\"Where the file is stored.\"},{\"name\":\"url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where the file can be fetched, if published.\",\"default\":null},{\"name\":\"content_type\",\"type\":\"string\",\"doc\":\"MIME type, detected from the file's first bytes, not taken from the provider's answer.\"},{\"name\":\"bytes\",\"type\":\"long\",\"doc\":\"Size of the file.\"},{\"name\":\"sha256\",\"type\":\"string\",\"doc\":\"Lower-case hex.\"},{\"name\":\"width\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels; null if genflow cannot read it from the file.\",\"default\":null},{\"name\":\"height\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels; null if genflow cannot read it from the file.\",\"default\":null},{\"name\":\"duration_seconds\",\"type\":[\"null\",\"double\"],\"doc\":\"Length of a video; null for an image, or if genflow cannot read it from the file.\",\"default\":null}]}},\"doc\":\"The stored files, in the provider's order.\"},{\"name\":\"provider\",\"type\":\"string\",\"doc\":\"Name of the provider that made it, such as replicate; after a fallback, the one that accepted the job.\"},{\"name\":\"provider_job_id\",\"type\":\"string\",\"doc\":\"The provider's own id of the job, or of its answer if it made the files at once.\"},{\"name\":\"elapsed_ms\",\"type\":\"long\",\"doc\":\"From workflow start to the stored result.\"},{\"name\":\"cost_usd\",\"type\":[\"null\",\"double\"],\"doc\":\"The best number for what the job cost, in US dollars.\",\"default\":null},{\"name\":\"cost_source\",\"type\":[\"null\",{\"type\":\"enum\",\"name\":\"CostSource\",\"doc\":\"PROVIDER is a price that the provider reported, METERED its quantities at genflow's prices, ESTIMATE an amount by price rules, made before the submit.\",\"symbols\":[\"UNKNOWN\",\"PROVIDER\",\"METERED\",\"ESTIMATE\"],\"default\":\"UNKNOWN\"}],\"doc\":\"Where cost_usd is from: the provider reported it, the provider's quantities at genflow's prices, or an estimate by price rules. Null without a cost.\",\"default\":null},{\"name\":\"sent\",\"type\":[\"null\",\"string\"],\"doc\":\"The input that was sent to the model, as JSON text without the prompt.\",\"default\":null},{\"name\":\"notes\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Note\",\"doc\":\"How the input differs from the request.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"type\",\"type\":\"string\",\"doc\":\"adapted, dropped or overridden.\"},{\"name\":\"details\",\"type\":\"string\",\"doc\":\"What was sent or left out, and why, as text for people.\"}]}},\"doc\":\"Fields that were not sent as they were asked.\",\"default\":[]},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"The provider's model that made it.\",\"default\":null}]}";
    export const ResultName = "genflow.v1.Result";
    /**
     * What was made.
     */
    export interface Result {
        /**
         * The stored files, in the provider's order.
         */
        outputs: GenflowV1.Output[];
        /**
         * Name of the provider that made it, such as replicate; after a fallback, the one that accepted the job.
         */
        provider: string;
        /**
         * The provider's own id of the job, or of its answer if it made the files at once.
         */
        provider_job_id: string;
        /**
         * From workflow start to the stored result.
         */
        elapsed_ms: number;
        /**
         * The best number for what the job cost, in US dollars.
         *
         * Default: null
         */
        cost_usd: null | number;
        /**
         * Where cost_usd is from: the provider reported it, the provider's quantities at genflow's prices, or an estimate by price rules. Null without a cost.
         *
         * Default: null
         */
        cost_source: null | GenflowV1.CostSource;
        /**
         * The input that was sent to the model, as JSON text without the prompt.
         *
         * Default: null
         */
        sent: null | string;
        /**
         * Fields that were not sent as they were asked.
         *
         * Default: []
         */
        notes: GenflowV1.Note[];
        /**
         * The provider's model that made it.
         *
         * Default: null
         */
        model: null | string;
    }
    export const BatchSummarySchema = "{\"type\":\"record\",\"name\":\"BatchSummary\",\"doc\":\"How the items of a batch ended.\",\"fields\":[{\"name\":\"total\",\"type\":\"int\",\"doc\":\"Number of items in the batch, the sum of the other counts.\"},{\"name\":\"completed\",\"type\":\"int\",\"doc\":\"Items that ended as COMPLETED.\"},{\"name\":\"failed\",\"type\":\"int\",\"doc\":\"Items that ended as FAILED.\"},{\"name\":\"cancelled\",\"type\":\"int\",\"doc\":\"Items that ended as CANCELLED.\"},{\"name\":\"not_started\",\"type\":\"int\",\"doc\":\"Items without a run: the batch ended before their turn, or another request has their id.\"}]}";
    export const BatchSummaryName = "genflow.v1.BatchSummary";
    /**
     * How the items of a batch ended.
     */
    export interface BatchSummary {
        /**
         * Number of items in the batch, the sum of the other counts.
         */
        total: number;
        /**
         * Items that ended as COMPLETED.
         */
        completed: number;
        /**
         * Items that ended as FAILED.
         */
        failed: number;
        /**
         * Items that ended as CANCELLED.
         */
        cancelled: number;
        /**
         * Items without a run: the batch ended before their turn, or another request has their id.
         */
        not_started: number;
    }
    export const ProblemSchema = "{\"type\":\"record\",\"name\":\"Problem\",\"doc\":\"One field that the model cannot serve.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"asked\",\"type\":[\"null\",\"string\"],\"doc\":\"The value that was asked for.\",\"default\":null},{\"name\":\"allowed\",\"type\":[\"null\",\"string\"],\"doc\":\"The values that the model allows.\",\"default\":null},{\"name\":\"hint\",\"type\":[\"null\",\"string\"],\"doc\":\"What to do.\",\"default\":null}]}";
    export const ProblemName = "genflow.v1.Problem";
    /**
     * One field that the model cannot serve.
     */
    export interface Problem {
        /**
         * Field of the request.
         */
        field: string;
        /**
         * The value that was asked for.
         *
         * Default: null
         */
        asked: null | string;
        /**
         * The values that the model allows.
         *
         * Default: null
         */
        allowed: null | string;
        /**
         * What to do.
         *
         * Default: null
         */
        hint: null | string;
    }
    export const ErrorSchema = "{\"type\":\"record\",\"name\":\"Error\",\"doc\":\"Why it did not complete.\",\"fields\":[{\"name\":\"code\",\"type\":\"string\",\"doc\":\"From a closed list.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"At most 1,000 characters.\"},{\"name\":\"retryable\",\"type\":\"boolean\",\"doc\":\"Whether the same request may succeed later.\"},{\"name\":\"problems\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Problem\",\"doc\":\"One field that the model cannot serve.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"asked\",\"type\":[\"null\",\"string\"],\"doc\":\"The value that was asked for.\",\"default\":null},{\"name\":\"allowed\",\"type\":[\"null\",\"string\"],\"doc\":\"The values that the model allows.\",\"default\":null},{\"name\":\"hint\",\"type\":[\"null\",\"string\"],\"doc\":\"What to do.\",\"default\":null}]}},\"doc\":\"Every problem of an invalid_request that was found before anything was sent.\",\"default\":[]}]}";
    export const ErrorName = "genflow.v1.Error";
    /**
     * Why it did not complete.
     */
    export interface Error {
        /**
         * From a closed list.
         */
        code: string;
        /**
         * At most 1,000 characters.
         */
        message: string;
        /**
         * Whether the same request may succeed later.
         */
        retryable: boolean;
        /**
         * Every problem of an invalid_request that was found before anything was sent.
         *
         * Default: []
         */
        problems: GenflowV1.Problem[];
    }
    export const RecordPositionSchema = "{\"type\":\"record\",\"name\":\"RecordPosition\",\"doc\":\"The refused record.\",\"fields\":[{\"name\":\"topic\",\"type\":\"string\",\"doc\":\"The topic of requests, by default gen.requests; the dead letter has it in the header dlq.original.topic.\"},{\"name\":\"partition\",\"type\":\"int\",\"doc\":\"The dead letter has it in the header dlq.original.partition.\"},{\"name\":\"offset\",\"type\":\"long\",\"doc\":\"The dead letter has it in the header dlq.original.offset.\"}]}";
    export const RecordPositionName = "genflow.v1.RecordPosition";
    /**
     * The refused record.
     */
    export interface RecordPosition {
        /**
         * The topic of requests, by default gen.requests; the dead letter has it in the header dlq.original.topic.
         */
        topic: string;
        /**
         * The dead letter has it in the header dlq.original.partition.
         */
        partition: number;
        /**
         * The dead letter has it in the header dlq.original.offset.
         */
        offset: number;
    }
    export const NotifySchema = "{\"type\":\"record\",\"name\":\"Notify\",\"doc\":\"Whom to notify: sealed, only the notifier can open it.\",\"fields\":[{\"name\":\"on\",\"type\":{\"type\":\"array\",\"items\":\"EventType\"},\"doc\":\"Event types to notify of: notify_on of the request or, if an item has none, of its batch.\"},{\"name\":\"sealed\",\"type\":\"bytes\",\"doc\":\"AES-256-GCM.\"}]}";
    export const NotifyName = "genflow.v1.Notify";
    /**
     * Whom to notify: sealed, only the notifier can open it.
     */
    export interface Notify {
        /**
         * Event types to notify of: notify_on of the request or, if an item has none, of its batch.
         */
        on: GenflowV1.EventType[];
        /**
         * AES-256-GCM.
         */
        sealed: Buffer;
    }
    export const TriedSchema = "{\"type\":\"record\",\"name\":\"Tried\",\"doc\":\"A model that was tried without success.\",\"fields\":[{\"name\":\"provider\",\"type\":\"string\",\"doc\":\"The provider that was asked, such as replicate.\"},{\"name\":\"model\",\"type\":\"string\",\"doc\":\"The provider's name of the model, cut off after 256 characters.\"},{\"name\":\"code\",\"type\":\"string\",\"doc\":\"From the list of error codes.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"Why it failed; at most 300 characters.\"}]}";
    export const TriedName = "genflow.v1.Tried";
    /**
     * A model that was tried without success.
     */
    export interface Tried {
        /**
         * The provider that was asked, such as replicate.
         */
        provider: string;
        /**
         * The provider's name of the model, cut off after 256 characters.
         */
        model: string;
        /**
         * From the list of error codes.
         */
        code: string;
        /**
         * Why it failed; at most 300 characters.
         */
        message: string;
    }
    export const GenerationEventSchema = "{\"type\":\"record\",\"name\":\"GenerationEvent\",\"namespace\":\"genflow.v1\",\"doc\":\"One step in the life of a request; value of gen.events and gen.results.\",\"fields\":[{\"name\":\"event_id\",\"type\":{\"type\":\"string\",\"logicalType\":\"uuid\"},\"doc\":\"UUIDv5, the same on every copy of the event.\"},{\"name\":\"request_id\",\"type\":\"string\",\"doc\":\"The request, or the item of a batch, that the event is about; also the record's key on gen.events.\"},{\"name\":\"retry\",\"type\":\"int\",\"doc\":\"0 for the first run, n for the n-th effective retry.\"},{\"name\":\"sequence\",\"type\":\"int\",\"doc\":\"From 0 without gaps; -1 for REJECTED.\"},{\"name\":\"batch_id\",\"type\":[\"null\",\"string\"],\"doc\":\"The batch this request is an item of.\",\"default\":null},{\"name\":\"user_id\",\"type\":\"string\",\"doc\":\"The tenant, as in the request; empty if a refused record has no valid one.\"},{\"name\":\"kind\",\"type\":{\"type\":\"enum\",\"name\":\"Kind\",\"doc\":\"What is made.\",\"symbols\":[\"UNKNOWN\",\"VIDEO\",\"IMAGE\",\"BATCH\"],\"default\":\"UNKNOWN\"},\"doc\":\"VIDEO or IMAGE, also for an item of a batch; BATCH for the batch itself; UNKNOWN if genflow cannot read it from a refused record.\"},{\"name\":\"type\",\"type\":{\"type\":\"enum\",\"name\":\"EventType\",\"doc\":\"What happened to a request.\",\"symbols\":[\"UNKNOWN\",\"STARTED\",\"PROGRESS\",\"COMPLETED\",\"FAILED\",\"CANCELLED\",\"REJECTED\"],\"default\":\"UNKNOWN\"},\"doc\":\"STARTED is the first event of a run, COMPLETED, FAILED or CANCELLED the last; REJECTED answers a refused record, which starts no run.\"},{\"name\":\"occurred_at\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"},\"doc\":\"When the workflow decided the event, or the timestamp of a refused record, in milliseconds since the Unix epoch; the same on every copy.\"},{\"name\":\"workflow_id\",\"type\":[\"null\",\"string\"],\"doc\":\"Temporal's workflow id of the run: the request_id, or request_id~n for the n-th retry; also the record's key on gen.results. Null for REJECTED.\",\"default\":null},{\"name\":\"run_id\",\"type\":[\"null\",\"string\"],\"doc\":\"Temporal's run id of the workflow; a STARTED with another one may begin a new life of the request. Null for REJECTED.\",\"default\":null},{\"name\":\"progress\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Progress\",\"doc\":\"How far the generation is.\",\"fields\":[{\"name\":\"percent\",\"type\":\"int\",\"doc\":\"0 to 100, never falling.\"},{\"name\":\"stage\",\"type\":\"string\",\"doc\":\"The provider's name for the current stage, at most 128 characters; for a batch, the word items.\"},{\"name\":\"message\",\"type\":[\"null\",\"string\"],\"doc\":\"Text for people, at most 1,000 characters; null if there is none.\",\"default\":null}]}],\"doc\":\"How far the run has come; set on PROGRESS, else null.\",\"default\":null},{\"name\":\"result\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Result\",\"doc\":\"What was made.\",\"fields\":[{\"name\":\"outputs\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Output\",\"doc\":\"One stored file.\",\"fields\":[{\"name\":\"uri\",\"type\":\"string\",\"doc\":\"Where the file is stored.\"},{\"name\":\"url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where the file can be fetched, if published.\",\"default\":null},{\"name\":\"content_type\",\"type\":\"string\",\"doc\":\"MIME type, detected from the file's first bytes, not taken from the provider's answer.\"},{\"name\":\"bytes\",\"type\":\"long\",\"doc\":\"Size of the file.\"},{\"name\":\"sha256\",\"type\":\"string\",\"doc\":\"Lower-case hex.\"},{\"name\":\"width\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels; null if genflow cannot read it from the file.\",\"default\":null},{\"name\":\"height\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels; null if genflow cannot read it from the file.\",\"default\":null},{\"name\":\"duration_seconds\",\"type\":[\"null\",\"double\"],\"doc\":\"Length of a video; null for an image, or if genflow cannot read it from the file.\",\"default\":null}]}},\"doc\":\"The stored files, in the provider's order.\"},{\"name\":\"provider\",\"type\":\"string\",\"doc\":\"Name of the provider that made it, such as replicate; after a fallback, the one that accepted the job.\"},{\"name\":\"provider_job_id\",\"type\":\"string\",\"doc\":\"The provider's own id of the job, or of its answer if it made the files at once.\"},{\"name\":\"elapsed_ms\",\"type\":\"long\",\"doc\":\"From workflow start to the stored result.\"},{\"name\":\"cost_usd\",\"type\":[\"null\",\"double\"],\"doc\":\"The best number for what the job cost, in US dollars.\",\"default\":null},{\"name\":\"cost_source\",\"type\":[\"null\",{\"type\":\"enum\",\"name\":\"CostSource\",\"doc\":\"PROVIDER is a price that the provider reported, METERED its quantities at genflow's prices, ESTIMATE an amount by price rules, made before the submit.\",\"symbols\":[\"UNKNOWN\",\"PROVIDER\",\"METERED\",\"ESTIMATE\"],\"default\":\"UNKNOWN\"}],\"doc\":\"Where cost_usd is from: the provider reported it, the provider's quantities at genflow's prices, or an estimate by price rules. Null without a cost.\",\"default\":null},{\"name\":\"sent\",\"type\":[\"null\",\"string\"],\"doc\":\"The input that was sent to the model, as JSON text without the prompt.\",\"default\":null},{\"name\":\"notes\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Note\",\"doc\":\"How the input differs from the request.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"type\",\"type\":\"string\",\"doc\":\"adapted, dropped or overridden.\"},{\"name\":\"details\",\"type\":\"string\",\"doc\":\"What was sent or left out, and why, as text for people.\"}]}},\"doc\":\"Fields that were not sent as they were asked.\",\"default\":[]},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"The provider's model that made it.\",\"default\":null}]}],\"doc\":\"The stored files and facts about the job; set on COMPLETED, except for a batch, else null.\",\"default\":null},{\"name\":\"batch\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"BatchSummary\",\"doc\":\"How the items of a batch ended.\",\"fields\":[{\"name\":\"total\",\"type\":\"int\",\"doc\":\"Number of items in the batch, the sum of the other counts.\"},{\"name\":\"completed\",\"type\":\"int\",\"doc\":\"Items that ended as COMPLETED.\"},{\"name\":\"failed\",\"type\":\"int\",\"doc\":\"Items that ended as FAILED.\"},{\"name\":\"cancelled\",\"type\":\"int\",\"doc\":\"Items that ended as CANCELLED.\"},{\"name\":\"not_started\",\"type\":\"int\",\"doc\":\"Items without a run: the batch ended before their turn, or another request has their id.\"}]}],\"doc\":\"Counts of the items; set on the last event of a batch, else null.\",\"default\":null},{\"name\":\"error\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Error\",\"doc\":\"Why it did not complete.\",\"fields\":[{\"name\":\"code\",\"type\":\"string\",\"doc\":\"From a closed list.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"At most 1,000 characters.\"},{\"name\":\"retryable\",\"type\":\"boolean\",\"doc\":\"Whether the same request may succeed later.\"},{\"name\":\"problems\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Problem\",\"doc\":\"One field that the model cannot serve.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"asked\",\"type\":[\"null\",\"string\"],\"doc\":\"The value that was asked for.\",\"default\":null},{\"name\":\"allowed\",\"type\":[\"null\",\"string\"],\"doc\":\"The values that the model allows.\",\"default\":null},{\"name\":\"hint\",\"type\":[\"null\",\"string\"],\"doc\":\"What to do.\",\"default\":null}]}},\"doc\":\"Every problem of an invalid_request that was found before anything was sent.\",\"default\":[]}]}],\"doc\":\"Why the request failed or the record was refused; set on FAILED and REJECTED, else null.\",\"default\":null},{\"name\":\"record\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"RecordPosition\",\"doc\":\"The refused record.\",\"fields\":[{\"name\":\"topic\",\"type\":\"string\",\"doc\":\"The topic of requests, by default gen.requests; the dead letter has it in the header dlq.original.topic.\"},{\"name\":\"partition\",\"type\":\"int\",\"doc\":\"The dead letter has it in the header dlq.original.partition.\"},{\"name\":\"offset\",\"type\":\"long\",\"doc\":\"The dead letter has it in the header dlq.original.offset.\"}]}],\"doc\":\"Position of the refused record; set on REJECTED, else null.\",\"default\":null},{\"name\":\"notify\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Notify\",\"doc\":\"Whom to notify: sealed, only the notifier can open it.\",\"fields\":[{\"name\":\"on\",\"type\":{\"type\":\"array\",\"items\":\"EventType\"},\"doc\":\"Event types to notify of: notify_on of the request or, if an item has none, of its batch.\"},{\"name\":\"sealed\",\"type\":\"bytes\",\"doc\":\"AES-256-GCM.\"}]}],\"doc\":\"Sealed targets and the types to notify them of; null on gen.results, or if the request has no targets and the default notify_on.\",\"default\":null},{\"name\":\"metadata\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"The request's metadata; empty if genflow cannot read it from a refused record, or if the event would exceed 256 kB.\",\"default\":{}},{\"name\":\"tried\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Tried\",\"doc\":\"A model that was tried without success.\",\"fields\":[{\"name\":\"provider\",\"type\":\"string\",\"doc\":\"The provider that was asked, such as replicate.\"},{\"name\":\"model\",\"type\":\"string\",\"doc\":\"The provider's name of the model, cut off after 256 characters.\"},{\"name\":\"code\",\"type\":\"string\",\"doc\":\"From the list of error codes.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"Why it failed; at most 300 characters.\"}]}},\"doc\":\"The models tried without success, in order; set on the last event of a run that fell back to another model.\",\"default\":[]}]}";
    export const GenerationEventName = "genflow.v1.GenerationEvent";
    /**
     * One step in the life of a request; value of gen.events and gen.results.
     */
    export interface GenerationEvent {
        /**
         * UUIDv5, the same on every copy of the event.
         */
        event_id: string;
        /**
         * The request, or the item of a batch, that the event is about; also the record's key on gen.events.
         */
        request_id: string;
        /**
         * 0 for the first run, n for the n-th effective retry.
         */
        retry: number;
        /**
         * From 0 without gaps; -1 for REJECTED.
         */
        sequence: number;
        /**
         * The batch this request is an item of.
         *
         * Default: null
         */
        batch_id: null | string;
        /**
         * The tenant, as in the request; empty if a refused record has no valid one.
         */
        user_id: string;
        /**
         * VIDEO or IMAGE, also for an item of a batch; BATCH for the batch itself; UNKNOWN if genflow cannot read it from a refused record.
         */
        kind: GenflowV1.Kind;
        /**
         * STARTED is the first event of a run, COMPLETED, FAILED or CANCELLED the last; REJECTED answers a refused record, which starts no run.
         */
        type: GenflowV1.EventType;
        /**
         * When the workflow decided the event, or the timestamp of a refused record, in milliseconds since the Unix epoch; the same on every copy.
         */
        occurred_at: number;
        /**
         * Temporal's workflow id of the run: the request_id, or request_id~n for the n-th retry; also the record's key on gen.results. Null for REJECTED.
         *
         * Default: null
         */
        workflow_id: null | string;
        /**
         * Temporal's run id of the workflow; a STARTED with another one may begin a new life of the request. Null for REJECTED.
         *
         * Default: null
         */
        run_id: null | string;
        /**
         * How far the run has come; set on PROGRESS, else null.
         *
         * Default: null
         */
        progress: null | GenflowV1.Progress;
        /**
         * The stored files and facts about the job; set on COMPLETED, except for a batch, else null.
         *
         * Default: null
         */
        result: null | GenflowV1.Result;
        /**
         * Counts of the items; set on the last event of a batch, else null.
         *
         * Default: null
         */
        batch: null | GenflowV1.BatchSummary;
        /**
         * Why the request failed or the record was refused; set on FAILED and REJECTED, else null.
         *
         * Default: null
         */
        error: null | GenflowV1.Error;
        /**
         * Position of the refused record; set on REJECTED, else null.
         *
         * Default: null
         */
        record: null | GenflowV1.RecordPosition;
        /**
         * Sealed targets and the types to notify them of; null on gen.results, or if the request has no targets and the default notify_on.
         *
         * Default: null
         */
        notify: null | GenflowV1.Notify;
        /**
         * The request's metadata; empty if genflow cannot read it from a refused record, or if the event would exceed 256 kB.
         *
         * Default: {}
         */
        metadata: {
            [index: string]: string;
        };
        /**
         * The models tried without success, in order; set on the last event of a run that fell back to another model.
         *
         * Default: []
         */
        tried: GenflowV1.Tried[];
    }
}
