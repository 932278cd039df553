export function thirdPartyLicences(web: string, apache: string): Promise<string>;
