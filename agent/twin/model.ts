/** Names the model in docs/model, which says in DTDL what this contract says; announced at every connection. */
export const MODEL_ID = 'dtmi:com:iotdeviceagent:DeviceAgent;1'

/**
 * Marks a section as a component of the model, in both parts of a twin. It is no setting.
 * Source: IoT Plug and Play conventions, "Sample multiple components writable property".
 */
export const COMPONENT_KEY = '__t'
export const COMPONENT = 'c'
