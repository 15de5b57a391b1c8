declare module 'systemd-notify' {
  /** Runs the program systemd-notify; rejects with a string. */
  export default function notify(options: {
    ready?: boolean
    status?: string
    pid?: number
    booted?: boolean
  }): Promise<unknown>
}
