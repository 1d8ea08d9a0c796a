/* eslint-disable @typescript-eslint/no-namespace */

export type GenerationRequest = GenflowV1.GenerationRequest;

export namespace GenflowV1 {
    export const InputRoleSchema = "{\"type\":\"enum\",\"name\":\"InputRole\",\"doc\":\"What an input is to the output.\",\"symbols\":[\"UNKNOWN\",\"UNSPECIFIED\",\"FIRST_FRAME\",\"LAST_FRAME\",\"SOURCE\",\"REFERENCE\",\"MASK\"],\"default\":\"UNKNOWN\"}";
    export const InputRoleName = "genflow.v1.InputRole";
    /**
     * What an input is to the output.
     */
    export type InputRole = "UNKNOWN" | "UNSPECIFIED" | "FIRST_FRAME" | "LAST_FRAME" | "SOURCE" | "REFERENCE" | "MASK";
    export const InputSchema = "{\"type\":\"record\",\"name\":\"Input\",\"doc\":\"One file that the model starts from.\",\"fields\":[{\"name\":\"url\",\"type\":\"string\",\"doc\":\"http or https URL of a public host.\"},{\"name\":\"role\",\"type\":{\"type\":\"enum\",\"name\":\"InputRole\",\"doc\":\"What an input is to the output.\",\"symbols\":[\"UNKNOWN\",\"UNSPECIFIED\",\"FIRST_FRAME\",\"LAST_FRAME\",\"SOURCE\",\"REFERENCE\",\"MASK\"],\"default\":\"UNKNOWN\"},\"doc\":\"SOURCE is the file to edit, MASK the region of it to edit, REFERENCE an example to resemble; UNSPECIFIED lets genflow choose among the inputs that the model has.\",\"default\":\"UNSPECIFIED\"}]}";
    export const InputName = "genflow.v1.Input";
    /**
     * One file that the model starts from.
     */
    export interface Input {
        /**
         * http or https URL of a public host.
         */
        url: string;
        /**
         * SOURCE is the file to edit, MASK the region of it to edit, REFERENCE an example to resemble; UNSPECIFIED lets genflow choose among the inputs that the model has.
         *
         * Default: "UNSPECIFIED"
         */
        role?: GenflowV1.InputRole;
    }
    export const OnUnsupportedSchema = "{\"type\":\"enum\",\"name\":\"OnUnsupported\",\"doc\":\"What happens to a field that the model has no input for.\",\"symbols\":[\"UNKNOWN\",\"REFUSE\",\"DROP\"],\"default\":\"UNKNOWN\"}";
    export const OnUnsupportedName = "genflow.v1.OnUnsupported";
    /**
     * What happens to a field that the model has no input for.
     */
    export type OnUnsupported = "UNKNOWN" | "REFUSE" | "DROP";
    export const FallbackSchema = "{\"type\":\"record\",\"name\":\"Fallback\",\"doc\":\"A model to try.\",\"fields\":[{\"name\":\"provider\",\"type\":\"string\",\"doc\":\"replicate, openai, fal or one that PROVIDERS_FILE describes.\"},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"Model of the provider, 1 to 256 characters; null takes the provider's default one.\",\"default\":null}]}";
    export const FallbackName = "genflow.v1.Fallback";
    /**
     * A model to try.
     */
    export interface Fallback {
        /**
         * replicate, openai, fal or one that PROVIDERS_FILE describes.
         */
        provider: string;
        /**
         * Model of the provider, 1 to 256 characters; null takes the provider's default one.
         *
         * Default: null
         */
        model?: null | string;
    }
    export const VideoSpecSchema = "{\"type\":\"record\",\"name\":\"VideoSpec\",\"doc\":\"One video to generate. A field that is null takes the model's own default.\",\"fields\":[{\"name\":\"prompt\",\"type\":\"string\",\"doc\":\"1 to 10,000 characters.\"},{\"name\":\"negative_prompt\",\"type\":[\"null\",\"string\"],\"doc\":\"What the output must not show; 1 to 10,000 characters.\",\"default\":null},{\"name\":\"duration\",\"type\":[\"null\",\"int\"],\"doc\":\"Seconds, 1 to 600.\",\"default\":null},{\"name\":\"resolution\",\"type\":[\"null\",\"string\"],\"doc\":\"Width x height in pixels, such as 1280x720, or a class, such as 720p.\",\"default\":null},{\"name\":\"aspect_ratio\",\"type\":[\"null\",\"string\"],\"doc\":\"Width to height, such as 16:9; 1 to 32 characters.\",\"default\":null},{\"name\":\"fps\",\"type\":[\"null\",\"int\"],\"doc\":\"Frames per second, 1 to 120.\",\"default\":null},{\"name\":\"audio\",\"type\":[\"null\",\"boolean\"],\"doc\":\"Whether the video has sound.\",\"default\":null},{\"name\":\"style\",\"type\":[\"null\",\"string\"],\"doc\":\"A word that the model knows; at most 128 characters.\",\"default\":null},{\"name\":\"seed\",\"type\":[\"null\",\"long\"],\"doc\":\"Makes a generation repeatable, as far as the model is.\",\"default\":null},{\"name\":\"inputs\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Input\",\"doc\":\"One file that the model starts from.\",\"fields\":[{\"name\":\"url\",\"type\":\"string\",\"doc\":\"http or https URL of a public host.\"},{\"name\":\"role\",\"type\":{\"type\":\"enum\",\"name\":\"InputRole\",\"doc\":\"What an input is to the output.\",\"symbols\":[\"UNKNOWN\",\"UNSPECIFIED\",\"FIRST_FRAME\",\"LAST_FRAME\",\"SOURCE\",\"REFERENCE\",\"MASK\"],\"default\":\"UNKNOWN\"},\"doc\":\"SOURCE is the file to edit, MASK the region of it to edit, REFERENCE an example to resemble; UNSPECIFIED lets genflow choose among the inputs that the model has.\",\"default\":\"UNSPECIFIED\"}]}},\"doc\":\"Files that the model starts from.\",\"default\":[]},{\"name\":\"provider\",\"type\":[\"null\",\"string\"],\"doc\":\"Provider that serves: replicate, openai, fal or one that PROVIDERS_FILE describes; null takes the configured one.\",\"default\":null},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"Model of the provider, 1 to 256 characters; null takes the configured one.\",\"default\":null},{\"name\":\"params\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Inputs of the model by its own names; each value is JSON text. They are merged last, so they win.\",\"default\":{}},{\"name\":\"on_unsupported\",\"type\":{\"type\":\"enum\",\"name\":\"OnUnsupported\",\"doc\":\"What happens to a field that the model has no input for.\",\"symbols\":[\"UNKNOWN\",\"REFUSE\",\"DROP\"],\"default\":\"UNKNOWN\"},\"doc\":\"REFUSE fails the request before anything is paid; DROP leaves the field out.\",\"default\":\"REFUSE\"},{\"name\":\"fallback\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Fallback\",\"doc\":\"A model to try.\",\"fields\":[{\"name\":\"provider\",\"type\":\"string\",\"doc\":\"replicate, openai, fal or one that PROVIDERS_FILE describes.\"},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"Model of the provider, 1 to 256 characters; null takes the provider's default one.\",\"default\":null}]}},\"doc\":\"Models to try in turn, at most 5, as long as no provider has accepted the job.\",\"default\":[]}]}";
    export const VideoSpecName = "genflow.v1.VideoSpec";
    /**
     * One video to generate. A field that is null takes the model's own default.
     */
    export interface VideoSpec {
        /**
         * 1 to 10,000 characters.
         */
        prompt: string;
        /**
         * What the output must not show; 1 to 10,000 characters.
         *
         * Default: null
         */
        negative_prompt?: null | string;
        /**
         * Seconds, 1 to 600.
         *
         * Default: null
         */
        duration?: null | number;
        /**
         * Width x height in pixels, such as 1280x720, or a class, such as 720p.
         *
         * Default: null
         */
        resolution?: null | string;
        /**
         * Width to height, such as 16:9; 1 to 32 characters.
         *
         * Default: null
         */
        aspect_ratio?: null | string;
        /**
         * Frames per second, 1 to 120.
         *
         * Default: null
         */
        fps?: null | number;
        /**
         * Whether the video has sound.
         *
         * Default: null
         */
        audio?: null | boolean;
        /**
         * A word that the model knows; at most 128 characters.
         *
         * Default: null
         */
        style?: null | string;
        /**
         * Makes a generation repeatable, as far as the model is.
         *
         * Default: null
         */
        seed?: null | number;
        /**
         * Files that the model starts from.
         *
         * Default: []
         */
        inputs?: GenflowV1.Input[];
        /**
         * Provider that serves: replicate, openai, fal or one that PROVIDERS_FILE describes; null takes the configured one.
         *
         * Default: null
         */
        provider?: null | string;
        /**
         * Model of the provider, 1 to 256 characters; null takes the configured one.
         *
         * Default: null
         */
        model?: null | string;
        /**
         * Inputs of the model by its own names; each value is JSON text. They are merged last, so they win.
         *
         * Default: {}
         */
        params?: {
            [index: string]: string;
        };
        /**
         * REFUSE fails the request before anything is paid; DROP leaves the field out.
         *
         * Default: "REFUSE"
         */
        on_unsupported?: GenflowV1.OnUnsupported;
        /**
         * Models to try in turn, at most 5, as long as no provider has accepted the job.
         *
         * Default: []
         */
        fallback?: GenflowV1.Fallback[];
    }
    export const ImageSpecSchema = "{\"type\":\"record\",\"name\":\"ImageSpec\",\"doc\":\"One or more images to generate from one prompt. A field that is null takes the model's own default.\",\"fields\":[{\"name\":\"prompt\",\"type\":\"string\",\"doc\":\"1 to 10,000 characters.\"},{\"name\":\"negative_prompt\",\"type\":[\"null\",\"string\"],\"doc\":\"What the output must not show; 1 to 10,000 characters.\",\"default\":null},{\"name\":\"width\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels, 64 to 8192.\",\"default\":null},{\"name\":\"height\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels, 64 to 8192.\",\"default\":null},{\"name\":\"aspect_ratio\",\"type\":[\"null\",\"string\"],\"doc\":\"Width to height, such as 16:9; 1 to 32 characters.\",\"default\":null},{\"name\":\"num_images\",\"type\":[\"null\",\"int\"],\"doc\":\"1 to 16; null means 1.\",\"default\":null},{\"name\":\"output_format\",\"type\":[\"null\",\"string\"],\"doc\":\"File format, such as png; 1 to 32 characters.\",\"default\":null},{\"name\":\"style\",\"type\":[\"null\",\"string\"],\"doc\":\"A word that the model knows; at most 128 characters.\",\"default\":null},{\"name\":\"seed\",\"type\":[\"null\",\"long\"],\"doc\":\"Makes a generation repeatable, as far as the model is.\",\"default\":null},{\"name\":\"inputs\",\"type\":{\"type\":\"array\",\"items\":\"Input\"},\"doc\":\"Files that the model starts from.\",\"default\":[]},{\"name\":\"provider\",\"type\":[\"null\",\"string\"],\"doc\":\"Provider that serves: replicate, openai, fal or one that PROVIDERS_FILE describes; null takes the configured one.\",\"default\":null},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"Model of the provider, 1 to 256 characters; null takes the configured one.\",\"default\":null},{\"name\":\"params\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Inputs of the model by its own names; each value is JSON text. They are merged last, so they win.\",\"default\":{}},{\"name\":\"on_unsupported\",\"type\":\"OnUnsupported\",\"doc\":\"REFUSE fails the request before anything is paid; DROP leaves the field out.\",\"default\":\"REFUSE\"},{\"name\":\"fallback\",\"type\":{\"type\":\"array\",\"items\":\"Fallback\"},\"doc\":\"Models to try in turn, at most 5, as long as no provider has accepted the job.\",\"default\":[]}]}";
    export const ImageSpecName = "genflow.v1.ImageSpec";
    /**
     * One or more images to generate from one prompt. A field that is null takes the model's own default.
     */
    export interface ImageSpec {
        /**
         * 1 to 10,000 characters.
         */
        prompt: string;
        /**
         * What the output must not show; 1 to 10,000 characters.
         *
         * Default: null
         */
        negative_prompt?: null | string;
        /**
         * Pixels, 64 to 8192.
         *
         * Default: null
         */
        width?: null | number;
        /**
         * Pixels, 64 to 8192.
         *
         * Default: null
         */
        height?: null | number;
        /**
         * Width to height, such as 16:9; 1 to 32 characters.
         *
         * Default: null
         */
        aspect_ratio?: null | string;
        /**
         * 1 to 16; null means 1.
         *
         * Default: null
         */
        num_images?: null | number;
        /**
         * File format, such as png; 1 to 32 characters.
         *
         * Default: null
         */
        output_format?: null | string;
        /**
         * A word that the model knows; at most 128 characters.
         *
         * Default: null
         */
        style?: null | string;
        /**
         * Makes a generation repeatable, as far as the model is.
         *
         * Default: null
         */
        seed?: null | number;
        /**
         * Files that the model starts from.
         *
         * Default: []
         */
        inputs?: GenflowV1.Input[];
        /**
         * Provider that serves: replicate, openai, fal or one that PROVIDERS_FILE describes; null takes the configured one.
         *
         * Default: null
         */
        provider?: null | string;
        /**
         * Model of the provider, 1 to 256 characters; null takes the configured one.
         *
         * Default: null
         */
        model?: null | string;
        /**
         * Inputs of the model by its own names; each value is JSON text. They are merged last, so they win.
         *
         * Default: {}
         */
        params?: {
            [index: string]: string;
        };
        /**
         * REFUSE fails the request before anything is paid; DROP leaves the field out.
         *
         * Default: "REFUSE"
         */
        on_unsupported?: GenflowV1.OnUnsupported;
        /**
         * Models to try in turn, at most 5, as long as no provider has accepted the job.
         *
         * Default: []
         */
        fallback?: GenflowV1.Fallback[];
    }
    export const BatchStrategySchema = "{\"type\":\"enum\",\"name\":\"BatchStrategy\",\"doc\":\"Order of the items.\",\"symbols\":[\"UNKNOWN\",\"PARALLEL\",\"SEQUENTIAL\"],\"default\":\"UNKNOWN\"}";
    export const BatchStrategyName = "genflow.v1.BatchStrategy";
    /**
     * Order of the items.
     */
    export type BatchStrategy = "UNKNOWN" | "PARALLEL" | "SEQUENTIAL";
    export const OnFailureSchema = "{\"type\":\"enum\",\"name\":\"OnFailure\",\"doc\":\"What a failed item does to the rest.\",\"symbols\":[\"UNKNOWN\",\"CONTINUE\",\"STOP\"],\"default\":\"UNKNOWN\"}";
    export const OnFailureName = "genflow.v1.OnFailure";
    /**
     * What a failed item does to the rest.
     */
    export type OnFailure = "UNKNOWN" | "CONTINUE" | "STOP";
    export const EventTypeSchema = "{\"type\":\"enum\",\"name\":\"EventType\",\"doc\":\"What happened to a request.\",\"symbols\":[\"UNKNOWN\",\"STARTED\",\"PROGRESS\",\"COMPLETED\",\"FAILED\",\"CANCELLED\",\"REJECTED\"],\"default\":\"UNKNOWN\"}";
    export const EventTypeName = "genflow.v1.EventType";
    /**
     * What happened to a request.
     */
    export type EventType = "UNKNOWN" | "STARTED" | "PROGRESS" | "COMPLETED" | "FAILED" | "CANCELLED" | "REJECTED";
    export const BatchItemSchema = "{\"type\":\"record\",\"name\":\"BatchItem\",\"doc\":\"One request of a batch.\",\"fields\":[{\"name\":\"request_id\",\"type\":\"string\",\"doc\":\"As GenerationRequest.request_id; names the item's own request.\"},{\"name\":\"spec\",\"type\":[\"VideoSpec\",\"ImageSpec\"],\"doc\":\"What to make; a batch cannot contain another.\"},{\"name\":\"webhook_url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where to POST signed events of the item; at most 2,048 characters. The batch's targets do not receive them.\",\"default\":null},{\"name\":\"notify_on\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"enum\",\"name\":\"EventType\",\"doc\":\"What happened to a request.\",\"symbols\":[\"UNKNOWN\",\"STARTED\",\"PROGRESS\",\"COMPLETED\",\"FAILED\",\"CANCELLED\",\"REJECTED\"],\"default\":\"UNKNOWN\"}},\"doc\":\"Types to notify of; empty takes the batch's.\",\"default\":[]},{\"name\":\"metadata\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Given back in every event of the item, instead of the batch's; at most 32 entries and 8 KiB.\",\"default\":{}}]}";
    export const BatchItemName = "genflow.v1.BatchItem";
    /**
     * One request of a batch.
     */
    export interface BatchItem {
        /**
         * As GenerationRequest.request_id; names the item's own request.
         */
        request_id: string;
        /**
         * What to make; a batch cannot contain another.
         */
        spec: GenflowV1.VideoSpec | GenflowV1.ImageSpec;
        /**
         * Where to POST signed events of the item; at most 2,048 characters. The batch's targets do not receive them.
         *
         * Default: null
         */
        webhook_url?: null | string;
        /**
         * Types to notify of; empty takes the batch's.
         *
         * Default: []
         */
        notify_on?: GenflowV1.EventType[];
        /**
         * Given back in every event of the item, instead of the batch's; at most 32 entries and 8 KiB.
         *
         * Default: {}
         */
        metadata?: {
            [index: string]: string;
        };
    }
    export const BatchSpecSchema = "{\"type\":\"record\",\"name\":\"BatchSpec\",\"doc\":\"Many videos and images under one id.\",\"fields\":[{\"name\":\"strategy\",\"type\":{\"type\":\"enum\",\"name\":\"BatchStrategy\",\"doc\":\"Order of the items.\",\"symbols\":[\"UNKNOWN\",\"PARALLEL\",\"SEQUENTIAL\"],\"default\":\"UNKNOWN\"},\"doc\":\"PARALLEL keeps up to max_concurrent items running; SEQUENTIAL runs one at a time, in the order of items.\",\"default\":\"PARALLEL\"},{\"name\":\"max_concurrent\",\"type\":\"int\",\"doc\":\"Items running at once, 1 to 500.\",\"default\":3},{\"name\":\"on_failure\",\"type\":{\"type\":\"enum\",\"name\":\"OnFailure\",\"doc\":\"What a failed item does to the rest.\",\"symbols\":[\"UNKNOWN\",\"CONTINUE\",\"STOP\"],\"default\":\"UNKNOWN\"},\"doc\":\"STOP starts no further item once one has failed, and lets running ones continue; CONTINUE tries every item. A cancelled item is no failure.\",\"default\":\"CONTINUE\"},{\"name\":\"items\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"BatchItem\",\"doc\":\"One request of a batch.\",\"fields\":[{\"name\":\"request_id\",\"type\":\"string\",\"doc\":\"As GenerationRequest.request_id; names the item's own request.\"},{\"name\":\"spec\",\"type\":[\"VideoSpec\",\"ImageSpec\"],\"doc\":\"What to make; a batch cannot contain another.\"},{\"name\":\"webhook_url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where to POST signed events of the item; at most 2,048 characters. The batch's targets do not receive them.\",\"default\":null},{\"name\":\"notify_on\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"enum\",\"name\":\"EventType\",\"doc\":\"What happened to a request.\",\"symbols\":[\"UNKNOWN\",\"STARTED\",\"PROGRESS\",\"COMPLETED\",\"FAILED\",\"CANCELLED\",\"REJECTED\"],\"default\":\"UNKNOWN\"}},\"doc\":\"Types to notify of; empty takes the batch's.\",\"default\":[]},{\"name\":\"metadata\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Given back in every event of the item, instead of the batch's; at most 32 entries and 8 KiB.\",\"default\":{}}]}},\"doc\":\"1 to 10,000 items.\"}]}";
    export const BatchSpecName = "genflow.v1.BatchSpec";
    /**
     * Many videos and images under one id.
     */
    export interface BatchSpec {
        /**
         * PARALLEL keeps up to max_concurrent items running; SEQUENTIAL runs one at a time, in the order of items.
         *
         * Default: "PARALLEL"
         */
        strategy?: GenflowV1.BatchStrategy;
        /**
         * Items running at once, 1 to 500.
         *
         * Default: 3
         */
        max_concurrent?: number;
        /**
         * STOP starts no further item once one has failed, and lets running ones continue; CONTINUE tries every item. A cancelled item is no failure.
         *
         * Default: "CONTINUE"
         */
        on_failure?: GenflowV1.OnFailure;
        /**
         * 1 to 10,000 items.
         */
        items: GenflowV1.BatchItem[];
    }
    export const PrioritySchema = "{\"type\":\"enum\",\"name\":\"Priority\",\"doc\":\"Order among waiting requests.\",\"symbols\":[\"UNKNOWN\",\"LOW\",\"NORMAL\",\"HIGH\"],\"default\":\"UNKNOWN\"}";
    export const PriorityName = "genflow.v1.Priority";
    /**
     * Order among waiting requests.
     */
    export type Priority = "UNKNOWN" | "LOW" | "NORMAL" | "HIGH";
    export const GenerationRequestSchema = "{\"type\":\"record\",\"name\":\"GenerationRequest\",\"namespace\":\"genflow.v1\",\"doc\":\"Asks genflow for one generation; value of gen.requests.\",\"fields\":[{\"name\":\"request_id\",\"type\":\"string\",\"doc\":\"Names the request: a letter or digit, then letters, digits, '.', '_', '-'; 1 to 128.\"},{\"name\":\"user_id\",\"type\":\"string\",\"doc\":\"The tenant; 1 to 128 characters, none of them a control character.\"},{\"name\":\"spec\",\"type\":[{\"type\":\"record\",\"name\":\"VideoSpec\",\"doc\":\"One video to generate. A field that is null takes the model's own default.\",\"fields\":[{\"name\":\"prompt\",\"type\":\"string\",\"doc\":\"1 to 10,000 characters.\"},{\"name\":\"negative_prompt\",\"type\":[\"null\",\"string\"],\"doc\":\"What the output must not show; 1 to 10,000 characters.\",\"default\":null},{\"name\":\"duration\",\"type\":[\"null\",\"int\"],\"doc\":\"Seconds, 1 to 600.\",\"default\":null},{\"name\":\"resolution\",\"type\":[\"null\",\"string\"],\"doc\":\"Width x height in pixels, such as 1280x720, or a class, such as 720p.\",\"default\":null},{\"name\":\"aspect_ratio\",\"type\":[\"null\",\"string\"],\"doc\":\"Width to height, such as 16:9; 1 to 32 characters.\",\"default\":null},{\"name\":\"fps\",\"type\":[\"null\",\"int\"],\"doc\":\"Frames per second, 1 to 120.\",\"default\":null},{\"name\":\"audio\",\"type\":[\"null\",\"boolean\"],\"doc\":\"Whether the video has sound.\",\"default\":null},{\"name\":\"style\",\"type\":[\"null\",\"string\"],\"doc\":\"A word that the model knows; at most 128 characters.\",\"default\":null},{\"name\":\"seed\",\"type\":[\"null\",\"long\"],\"doc\":\"Makes a generation repeatable, as far as the model is.\",\"default\":null},{\"name\":\"inputs\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Input\",\"doc\":\"One file that the model starts from.\",\"fields\":[{\"name\":\"url\",\"type\":\"string\",\"doc\":\"http or https URL of a public host.\"},{\"name\":\"role\",\"type\":{\"type\":\"enum\",\"name\":\"InputRole\",\"doc\":\"What an input is to the output.\",\"symbols\":[\"UNKNOWN\",\"UNSPECIFIED\",\"FIRST_FRAME\",\"LAST_FRAME\",\"SOURCE\",\"REFERENCE\",\"MASK\"],\"default\":\"UNKNOWN\"},\"doc\":\"SOURCE is the file to edit, MASK the region of it to edit, REFERENCE an example to resemble; UNSPECIFIED lets genflow choose among the inputs that the model has.\",\"default\":\"UNSPECIFIED\"}]}},\"doc\":\"Files that the model starts from.\",\"default\":[]},{\"name\":\"provider\",\"type\":[\"null\",\"string\"],\"doc\":\"Provider that serves: replicate, openai, fal or one that PROVIDERS_FILE describes; null takes the configured one.\",\"default\":null},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"Model of the provider, 1 to 256 characters; null takes the configured one.\",\"default\":null},{\"name\":\"params\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Inputs of the model by its own names; each value is JSON text. They are merged last, so they win.\",\"default\":{}},{\"name\":\"on_unsupported\",\"type\":{\"type\":\"enum\",\"name\":\"OnUnsupported\",\"doc\":\"What happens to a field that the model has no input for.\",\"symbols\":[\"UNKNOWN\",\"REFUSE\",\"DROP\"],\"default\":\"UNKNOWN\"},\"doc\":\"REFUSE fails the request before anything is paid; DROP leaves the field out.\",\"default\":\"REFUSE\"},{\"name\":\"fallback\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Fallback\",\"doc\":\"A model to try.\",\"fields\":[{\"name\":\"provider\",\"type\":\"string\",\"doc\":\"replicate, openai, fal or one that PROVIDERS_FILE describes.\"},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"Model of the provider, 1 to 256 characters; null takes the provider's default one.\",\"default\":null}]}},\"doc\":\"Models to try in turn, at most 5, as long as no provider has accepted the job.\",\"default\":[]}]},{\"type\":\"record\",\"name\":\"ImageSpec\",\"doc\":\"One or more images to generate from one prompt. A field that is null takes the model's own default.\",\"fields\":[{\"name\":\"prompt\",\"type\":\"string\",\"doc\":\"1 to 10,000 characters.\"},{\"name\":\"negative_prompt\",\"type\":[\"null\",\"string\"],\"doc\":\"What the output must not show; 1 to 10,000 characters.\",\"default\":null},{\"name\":\"width\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels, 64 to 8192.\",\"default\":null},{\"name\":\"height\",\"type\":[\"null\",\"int\"],\"doc\":\"Pixels, 64 to 8192.\",\"default\":null},{\"name\":\"aspect_ratio\",\"type\":[\"null\",\"string\"],\"doc\":\"Width to height, such as 16:9; 1 to 32 characters.\",\"default\":null},{\"name\":\"num_images\",\"type\":[\"null\",\"int\"],\"doc\":\"1 to 16; null means 1.\",\"default\":null},{\"name\":\"output_format\",\"type\":[\"null\",\"string\"],\"doc\":\"File format, such as png; 1 to 32 characters.\",\"default\":null},{\"name\":\"style\",\"type\":[\"null\",\"string\"],\"doc\":\"A word that the model knows; at most 128 characters.\",\"default\":null},{\"name\":\"seed\",\"type\":[\"null\",\"long\"],\"doc\":\"Makes a generation repeatable, as far as the model is.\",\"default\":null},{\"name\":\"inputs\",\"type\":{\"type\":\"array\",\"items\":\"Input\"},\"doc\":\"Files that the model starts from.\",\"default\":[]},{\"name\":\"provider\",\"type\":[\"null\",\"string\"],\"doc\":\"Provider that serves: replicate, openai, fal or one that PROVIDERS_FILE describes; null takes the configured one.\",\"default\":null},{\"name\":\"model\",\"type\":[\"null\",\"string\"],\"doc\":\"Model of the provider, 1 to 256 characters; null takes the configured one.\",\"default\":null},{\"name\":\"params\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Inputs of the model by its own names; each value is JSON text. They are merged last, so they win.\",\"default\":{}},{\"name\":\"on_unsupported\",\"type\":\"OnUnsupported\",\"doc\":\"REFUSE fails the request before anything is paid; DROP leaves the field out.\",\"default\":\"REFUSE\"},{\"name\":\"fallback\",\"type\":{\"type\":\"array\",\"items\":\"Fallback\"},\"doc\":\"Models to try in turn, at most 5, as long as no provider has accepted the job.\",\"default\":[]}]},{\"type\":\"record\",\"name\":\"BatchSpec\",\"doc\":\"Many videos and images under one id.\",\"fields\":[{\"name\":\"strategy\",\"type\":{\"type\":\"enum\",\"name\":\"BatchStrategy\",\"doc\":\"Order of the items.\",\"symbols\":[\"UNKNOWN\",\"PARALLEL\",\"SEQUENTIAL\"],\"default\":\"UNKNOWN\"},\"doc\":\"PARALLEL keeps up to max_concurrent items running; SEQUENTIAL runs one at a time, in the order of items.\",\"default\":\"PARALLEL\"},{\"name\":\"max_concurrent\",\"type\":\"int\",\"doc\":\"Items running at once, 1 to 500.\",\"default\":3},{\"name\":\"on_failure\",\"type\":{\"type\":\"enum\",\"name\":\"OnFailure\",\"doc\":\"What a failed item does to the rest.\",\"symbols\":[\"UNKNOWN\",\"CONTINUE\",\"STOP\"],\"default\":\"UNKNOWN\"},\"doc\":\"STOP starts no further item once one has failed, and lets running ones continue; CONTINUE tries every item. A cancelled item is no failure.\",\"default\":\"CONTINUE\"},{\"name\":\"items\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"BatchItem\",\"doc\":\"One request of a batch.\",\"fields\":[{\"name\":\"request_id\",\"type\":\"string\",\"doc\":\"As GenerationRequest.request_id; names the item's own request.\"},{\"name\":\"spec\",\"type\":[\"VideoSpec\",\"ImageSpec\"],\"doc\":\"What to make; a batch cannot contain another.\"},{\"name\":\"webhook_url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where to POST signed events of the item; at most 2,048 characters. The batch's targets do not receive them.\",\"default\":null},{\"name\":\"notify_on\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"enum\",\"name\":\"EventType\",\"doc\":\"What happened to a request.\",\"symbols\":[\"UNKNOWN\",\"STARTED\",\"PROGRESS\",\"COMPLETED\",\"FAILED\",\"CANCELLED\",\"REJECTED\"],\"default\":\"UNKNOWN\"}},\"doc\":\"Types to notify of; empty takes the batch's.\",\"default\":[]},{\"name\":\"metadata\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Given back in every event of the item, instead of the batch's; at most 32 entries and 8 KiB.\",\"default\":{}}]}},\"doc\":\"1 to 10,000 items.\"}]}],\"doc\":\"What to make.\"},{\"name\":\"priority\",\"type\":{\"type\":\"enum\",\"name\":\"Priority\",\"doc\":\"Order among waiting requests.\",\"symbols\":[\"UNKNOWN\",\"LOW\",\"NORMAL\",\"HIGH\"],\"default\":\"UNKNOWN\"},\"doc\":\"HIGH is served before NORMAL, and NORMAL before LOW; items have that of their batch.\",\"default\":\"NORMAL\"},{\"name\":\"timeout_seconds\",\"type\":[\"null\",\"int\"],\"doc\":\"Deadline counted from the workflow's start, 1 to 604,800; null takes the configured one of the kind.\",\"default\":null},{\"name\":\"webhook_url\",\"type\":[\"null\",\"string\"],\"doc\":\"Where to POST signed events; at most 2,048 characters.\",\"default\":null},{\"name\":\"notify_email\",\"type\":[\"null\",\"string\"],\"doc\":\"Where to mail events.\",\"default\":null},{\"name\":\"notify_slack\",\"type\":[\"null\",\"string\"],\"doc\":\"Slack incoming-webhook URL.\",\"default\":null},{\"name\":\"notify_on\",\"type\":{\"type\":\"array\",\"items\":\"EventType\"},\"doc\":\"Event types to notify of.\",\"default\":[\"COMPLETED\",\"FAILED\",\"CANCELLED\",\"REJECTED\"]},{\"name\":\"metadata\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Given back in every event; at most 32 entries and 8 KiB.\",\"default\":{}},{\"name\":\"requested_at\",\"type\":[\"null\",{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}],\"doc\":\"When the producer first made the request.\",\"default\":null}]}";
    export const GenerationRequestName = "genflow.v1.GenerationRequest";
    /**
     * Asks genflow for one generation; value of gen.requests.
     */
    export interface GenerationRequest {
        /**
         * Names the request: a letter or digit, then letters, digits, '.', '_', '-'; 1 to 128.
         */
        request_id: string;
        /**
         * The tenant; 1 to 128 characters, none of them a control character.
         */
        user_id: string;
        /**
         * What to make.
         */
        spec: {
            "genflow.v1.VideoSpec": GenflowV1.VideoSpec;
            "genflow.v1.ImageSpec"?: never;
            "genflow.v1.BatchSpec"?: never;
        } | {
            "genflow.v1.VideoSpec"?: never;
            "genflow.v1.ImageSpec": GenflowV1.ImageSpec;
            "genflow.v1.BatchSpec"?: never;
        } | {
            "genflow.v1.VideoSpec"?: never;
            "genflow.v1.ImageSpec"?: never;
            "genflow.v1.BatchSpec": GenflowV1.BatchSpec;
        };
        /**
         * HIGH is served before NORMAL, and NORMAL before LOW; items have that of their batch.
         *
         * Default: "NORMAL"
         */
        priority?: GenflowV1.Priority;
        /**
         * Deadline counted from the workflow's start, 1 to 604,800; null takes the configured one of the kind.
         *
         * Default: null
         */
        timeout_seconds?: null | number;
        /**
         * Where to POST signed events; at most 2,048 characters.
         *
         * Default: null
         */
        webhook_url?: null | string;
        /**
         * Where to mail events.
         *
         * Default: null
         */
        notify_email?: null | string;
        /**
         * Slack incoming-webhook URL.
         *
         * Default: null
         */
        notify_slack?: null | string;
        /**
         * Event types to notify of.
         *
         * Default: ["COMPLETED","FAILED","CANCELLED","REJECTED"]
         */
        notify_on?: GenflowV1.EventType[];
        /**
         * Given back in every event; at most 32 entries and 8 KiB.
         *
         * Default: {}
         */
        metadata?: {
            [index: string]: string;
        };
        /**
         * When the producer first made the request.
         *
         * Default: null
         */
        requested_at?: null | number;
    }
}
