/** A signature as plain data: what to call, with what, how (celery-protocol 7.1). */
export interface SignatureData {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly subtask_type: string | null;
  readonly immutable: boolean;
}
