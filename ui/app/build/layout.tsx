import { Shell } from "@/components/shell";

export default function BuildLayout({ children }: { children: React.ReactNode }) {
  return <Shell path="/build">{children}</Shell>;
}
