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
    export const ProgressSchema = "{\"type\":\"record\",\"name\":\"Progress\",\"doc\":\"How far the generation is.\",\"fields\":[{\"name\":\"percent\",\"type\":\"int\",\"doc\":\"0 to 100, never falling.\"},{\"name\":\"stage\",\"type\":\"string\"},{\"name\":\"message\",\"type\":[\"null\",\"string\"],\"default\":null}]}";
    export const ProgressName = "genflow.v1.Progress";
    /**
     * How far the generation is.
     */
    export interface Progress {
        /**
         * 0 to 100, never falling.
         */
        percent: number;
        stage: string;
        /**
         * Default: null
         */
        message: null | string;
    }
    export const OutputSchema = "{\"type\":\"record\",\"name\":\"Output\",\"doc\":\"One stored file.\",\"fields\":[{\"name\":\"uri\",\"type\":\"string\",\"doc\":\"Where the file is stored.\"},{\"name\":\"url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where the file can be fetched, if published.\",\"default\":null},{\"name\":\"content_type\",\"type\":\"string\"},{\"name\":\"bytes\",\"type\":\"long\"},{\"name\":\"sha256\",\"type\":\"string\",\"doc\":\"Lower-case hex.\"},{\"name\":\"width\",\"type\":[\"null\",\"int\"],\"default\":null},{\"name\":\"height\",\"type\":[\"null\",\"int\"],\"default\":null},{\"name\":\"duration_seconds\",\"type\":[\"null\",\"double\"],\"default\":null}]}";
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
        content_type: string;
        bytes: number;
        /**
         * Lower-case hex.
         */
        sha256: string;
        /**
         * Default: null
         */
        width: null | number;
        /**
         * Default: null
         */
        height: null | number;
        /**
         * Default: null
         */
        duration_seconds: null | number;
    }
    export const CostSourceSchema = "{\"type\":\"enum\",\"name\":\"CostSource\",\"symbols\":[\"UNKNOWN\",\"PROVIDER\",\"METERED\",\"ESTIMATE\"],\"default\":\"UNKNOWN\"}";
    export const CostSourceName = "genflow.v1.CostSource";
    export type CostSource = "UNKNOWN" | "PROVIDER" | "METERED" | "ESTIMATE";
    export const NoteSchema = "{\"type\":\"record\",\"name\":\"Note\",\"doc\":\"How the input differs from the request.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"type\",\"type\":\"string\",\"doc\":\"adapted, dropped or overridden.\"},{\"name\":\"details\",\"type\":\"string\"}]}";
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
        details: string;
    }
    export const ResultSchema = "{\"type\":\"record\",\"name\":\"Result\",\"doc\":\"What was made.\",\"fields\":[{\"name\":\"outputs\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Output\",\"doc\":\"One stored file.\",\"fields\":[{\"name\":\"uri\",\"type\":\"string\",\"doc\":\"Where the file is stored.\"},{\"name\":\"url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where the file can be fetched, if published.\",\"default\":null},{\"name\":\"content_type\",\"type\":\"string\"},{\"name\":\"bytes\",\"type\":\"long\"},{\"name\":\"sha256\",\"type\":\"string\",\"doc\":\"Lower-case hex.\"},{\"name\":\"width\",\"type\":[\"null\",\"int\"],\"default\":null},{\"name\":\"height\",\"type\":[\"null\",\"int\"],\"default\":null},{\"name\":\"duration_seconds\",\"type\":[\"null\",\"double\"],\"default\":null}]}}},{\"name\":\"provider\",\"type\":\"string\"},{\"name\":\"provider_job_id\",\"type\":\"string\"},{\"name\":\"elapsed_ms\",\"type\":\"long\",\"doc\":\"From workflow start to the stored result.\"},{\"name\":\"cost_usd\",\"type\":[\"null\",\"double\"],\"doc\":\"The best number for what the job cost, in US dollars.\",\"default\":null},{\"name\":\"cost_source\",\"type\":[\"null\",{\"type\":\"enum\",\"name\":\"CostSource\",\"symbols\":[\"UNKNOWN\",\"PROVIDER\",\"METERED\",\"ESTIMATE\"],\"default\":\"UNKNOWN\"}],\"doc\":\"Where cost_usd is from: the provider reported it, the provider's quantities at genflow's prices, or an estimate by price rules. Null without a cost.\",\"default\":null},{\"name\":\"sent\",\"type\":[\"null\",\"string\"],\"doc\":\"The input that was sent to the model, as JSON text without the prompt.\",\"default\":null},{\"name\":\"notes\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Note\",\"doc\":\"How the input differs from the request.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"type\",\"type\":\"string\",\"doc\":\"adapted, dropped or overridden.\"},{\"name\":\"details\",\"type\":\"string\"}]}},\"doc\":\"Fields that were not sent as they were asked.\",\"default\":[]},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"The provider's model that made it.\",\"default\":null}]}";
    export const ResultName = "genflow.v1.Result";
    /**
     * What was made.
     */
    export interface Result {
        outputs: GenflowV1.Output[];
        provider: string;
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
    export const BatchSummarySchema = "{\"type\":\"record\",\"name\":\"BatchSummary\",\"doc\":\"How the items of a batch ended.\",\"fields\":[{\"name\":\"total\",\"type\":\"int\"},{\"name\":\"completed\",\"type\":\"int\"},{\"name\":\"failed\",\"type\":\"int\"},{\"name\":\"cancelled\",\"type\":\"int\"},{\"name\":\"not_started\",\"type\":\"int\"}]}";
    export const BatchSummaryName = "genflow.v1.BatchSummary";
    /**
     * How the items of a batch ended.
     */
    export interface BatchSummary {
        total: number;
        completed: number;
        failed: number;
        cancelled: number;
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
    export const RecordPositionSchema = "{\"type\":\"record\",\"name\":\"RecordPosition\",\"doc\":\"The refused record.\",\"fields\":[{\"name\":\"topic\",\"type\":\"string\"},{\"name\":\"partition\",\"type\":\"int\"},{\"name\":\"offset\",\"type\":\"long\"}]}";
    export const RecordPositionName = "genflow.v1.RecordPosition";
    /**
     * The refused record.
     */
    export interface RecordPosition {
        topic: string;
        partition: number;
        offset: number;
    }
    export const NotifySchema = "{\"type\":\"record\",\"name\":\"Notify\",\"doc\":\"Whom to notify: sealed, only the notifier can open it.\",\"fields\":[{\"name\":\"on\",\"type\":{\"type\":\"array\",\"items\":\"EventType\"}},{\"name\":\"sealed\",\"type\":\"bytes\",\"doc\":\"AES-256-GCM.\"}]}";
    export const NotifyName = "genflow.v1.Notify";
    /**
     * Whom to notify: sealed, only the notifier can open it.
     */
    export interface Notify {
        on: GenflowV1.EventType[];
        /**
         * AES-256-GCM.
         */
        sealed: Buffer;
    }
    export const TriedSchema = "{\"type\":\"record\",\"name\":\"Tried\",\"doc\":\"A model that was tried without success.\",\"fields\":[{\"name\":\"provider\",\"type\":\"string\"},{\"name\":\"model\",\"type\":\"string\"},{\"name\":\"code\",\"type\":\"string\",\"doc\":\"From the list of error codes.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"Why it failed; at most 300 characters.\"}]}";
    export const TriedName = "genflow.v1.Tried";
    /**
     * A model that was tried without success.
     */
    export interface Tried {
        provider: string;
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
    export const GenerationEventSchema = "{\"type\":\"record\",\"name\":\"GenerationEvent\",\"namespace\":\"genflow.v1\",\"doc\":\"One step in the life of a request; value of gen.events and gen.results.\",\"fields\":[{\"name\":\"event_id\",\"type\":{\"type\":\"string\",\"logicalType\":\"uuid\"},\"doc\":\"UUIDv5, the same on every copy of the event.\"},{\"name\":\"request_id\",\"type\":\"string\"},{\"name\":\"retry\",\"type\":\"int\",\"doc\":\"0 for the first run, n for the n-th effective retry.\"},{\"name\":\"sequence\",\"type\":\"int\",\"doc\":\"From 0 without gaps; -1 for REJECTED.\"},{\"name\":\"batch_id\",\"type\":[\"null\",\"string\"],\"doc\":\"The batch this request is an item of.\",\"default\":null},{\"name\":\"user_id\",\"type\":\"string\"},{\"name\":\"kind\",\"type\":{\"type\":\"enum\",\"name\":\"Kind\",\"doc\":\"What is made.\",\"symbols\":[\"UNKNOWN\",\"VIDEO\",\"IMAGE\",\"BATCH\"],\"default\":\"UNKNOWN\"}},{\"name\":\"type\",\"type\":{\"type\":\"enum\",\"name\":\"EventType\",\"doc\":\"What happened to a request.\",\"symbols\":[\"UNKNOWN\",\"STARTED\",\"PROGRESS\",\"COMPLETED\",\"FAILED\",\"CANCELLED\",\"REJECTED\"],\"default\":\"UNKNOWN\"}},{\"name\":\"occurred_at\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}},{\"name\":\"workflow_id\",\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"run_id\",\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"progress\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Progress\",\"doc\":\"How far the generation is.\",\"fields\":[{\"name\":\"percent\",\"type\":\"int\",\"doc\":\"0 to 100, never falling.\"},{\"name\":\"stage\",\"type\":\"string\"},{\"name\":\"message\",\"type\":[\"null\",\"string\"],\"default\":null}]}],\"default\":null},{\"name\":\"result\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Result\",\"doc\":\"What was made.\",\"fields\":[{\"name\":\"outputs\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Output\",\"doc\":\"One stored file.\",\"fields\":[{\"name\":\"uri\",\"type\":\"string\",\"doc\":\"Where the file is stored.\"},{\"name\":\"url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where the file can be fetched, if published.\",\"default\":null},{\"name\":\"content_type\",\"type\":\"string\"},{\"name\":\"bytes\",\"type\":\"long\"},{\"name\":\"sha256\",\"type\":\"string\",\"doc\":\"Lower-case hex.\"},{\"name\":\"width\",\"type\":[\"null\",\"int\"],\"default\":null},{\"name\":\"height\",\"type\":[\"null\",\"int\"],\"default\":null},{\"name\":\"duration_seconds\",\"type\":[\"null\",\"double\"],\"default\":null}]}}},{\"name\":\"provider\",\"type\":\"string\"},{\"name\":\"provider_job_id\",\"type\":\"string\"},{\"name\":\"elapsed_ms\",\"type\":\"long\",\"doc\":\"From workflow start to the stored result.\"},{\"name\":\"cost_usd\",\"type\":[\"null\",\"double\"],\"doc\":\"The best number for what the job cost, in US dollars.\",\"default\":null},{\"name\":\"cost_source\",\"type\":[\"null\",{\"type\":\"enum\",\"name\":\"CostSource\",\"symbols\":[\"UNKNOWN\",\"PROVIDER\",\"METERED\",\"ESTIMATE\"],\"default\":\"UNKNOWN\"}],\"doc\":\"Where cost_usd is from: the provider reported it, the provider's quantities at genflow's prices, or an estimate by price rules. Null without a cost.\",\"default\":null},{\"name\":\"sent\",\"type\":[\"null\",\"string\"],\"doc\":\"The input that was sent to the model, as JSON text without the prompt.\",\"default\":null},{\"name\":\"notes\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Note\",\"doc\":\"How the input differs from the request.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"type\",\"type\":\"string\",\"doc\":\"adapted, dropped or overridden.\"},{\"name\":\"details\",\"type\":\"string\"}]}},\"doc\":\"Fields that were not sent as they were asked.\",\"default\":[]},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"The provider's model that made it.\",\"default\":null}]}],\"default\":null},{\"name\":\"batch\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"BatchSummary\",\"doc\":\"How the items of a batch ended.\",\"fields\":[{\"name\":\"total\",\"type\":\"int\"},{\"name\":\"completed\",\"type\":\"int\"},{\"name\":\"failed\",\"type\":\"int\"},{\"name\":\"cancelled\",\"type\":\"int\"},{\"name\":\"not_started\",\"type\":\"int\"}]}],\"default\":null},{\"name\":\"error\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Error\",\"doc\":\"Why it did not complete.\",\"fields\":[{\"name\":\"code\",\"type\":\"string\",\"doc\":\"From a closed list.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"At most 1,000 characters.\"},{\"name\":\"retryable\",\"type\":\"boolean\",\"doc\":\"Whether the same request may succeed later.\"},{\"name\":\"problems\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Problem\",\"doc\":\"One field that the model cannot serve.\",\"fields\":[{\"name\":\"field\",\"type\":\"string\",\"doc\":\"Field of the request.\"},{\"name\":\"asked\",\"type\":[\"null\",\"string\"],\"doc\":\"The value that was asked for.\",\"default\":null},{\"name\":\"allowed\",\"type\":[\"null\",\"string\"],\"doc\":\"The values that the model allows.\",\"default\":null},{\"name\":\"hint\",\"type\":[\"null\",\"string\"],\"doc\":\"What to do.\",\"default\":null}]}},\"doc\":\"Every problem of an invalid_request that was found before anything was sent.\",\"default\":[]}]}],\"default\":null},{\"name\":\"record\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"RecordPosition\",\"doc\":\"The refused record.\",\"fields\":[{\"name\":\"topic\",\"type\":\"string\"},{\"name\":\"partition\",\"type\":\"int\"},{\"name\":\"offset\",\"type\":\"long\"}]}],\"default\":null},{\"name\":\"notify\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Notify\",\"doc\":\"Whom to notify: sealed, only the notifier can open it.\",\"fields\":[{\"name\":\"on\",\"type\":{\"type\":\"array\",\"items\":\"EventType\"}},{\"name\":\"sealed\",\"type\":\"bytes\",\"doc\":\"AES-256-GCM.\"}]}],\"default\":null},{\"name\":\"metadata\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"default\":{}},{\"name\":\"tried\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Tried\",\"doc\":\"A model that was tried without success.\",\"fields\":[{\"name\":\"provider\",\"type\":\"string\"},{\"name\":\"model\",\"type\":\"string\"},{\"name\":\"code\",\"type\":\"string\",\"doc\":\"From the list of error codes.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"Why it failed; at most 300 characters.\"}]}},\"doc\":\"The models tried without success, in order; set on the last event of a run that fell back to another model.\",\"default\":[]}]}";
    export const GenerationEventName = "genflow.v1.GenerationEvent";
    /**
     * One step in the life of a request; value of gen.events and gen.results.
     */
    export interface GenerationEvent {
        /**
         * UUIDv5, the same on every copy of the event.
         */
        event_id: string;
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
        user_id: string;
        kind: GenflowV1.Kind;
        type: GenflowV1.EventType;
        occurred_at: number;
        /**
         * Default: null
         */
        workflow_id: null | string;
        /**
         * Default: null
         */
        run_id: null | string;
        /**
         * Default: null
         */
        progress: null | GenflowV1.Progress;
        /**
         * Default: null
         */
        result: null | GenflowV1.Result;
        /**
         * Default: null
         */
        batch: null | GenflowV1.BatchSummary;
        /**
         * Default: null
         */
        error: null | GenflowV1.Error;
        /**
         * Default: null
         */
        record: null | GenflowV1.RecordPosition;
        /**
         * Default: null
         */
        notify: null | GenflowV1.Notify;
        /**
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
