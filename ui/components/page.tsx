import { cn } from "@/lib/utils";

/** The main part of a page. */
export function Page({ className, ...props }: React.ComponentProps<"main">) {
  return (
    <main
      id="content"
      className={cn("mx-auto w-full max-w-5xl px-4 py-8 [--greenlight-top:3.5rem] sm:px-6", className)}
      {...props}
    />
  );
}
