import { Shell } from "@/components/shell";

export default function PlannersLayout({ children }: { children: React.ReactNode }) {
  return <Shell path="/planners">{children}</Shell>;
}
