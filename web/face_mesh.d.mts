export function placeFaceMesh(modules: string, target: string): Promise<void>;
